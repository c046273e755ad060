"""A channel over TLS that can be made anew when the files of the client change."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from grpc import aio

from gateway.core.tls_files import TlsFileError, file_stamps

LAST_CALLS_SECONDS: Final = 10.0
"""How long calls may take to fail on a channel that another one has replaced."""

_log = logging.getLogger(__name__)


class RenewedChannel:
    """The channel of the moment: grpc keeps for good what a channel was made with. Stubs of an earlier one stay good.

    `connect` makes a channel of the files at `paths`. In all else it is that channel.
    """

    def __init__(self, connect: Callable[[], aio.Channel], paths: Sequence[str]) -> None:
        """Raises as `connect` does, TlsFileError if a file cannot be used."""
        self._connect = connect
        self._paths = paths
        self._stamps = file_stamps(paths)
        self._channel = connect()
        self._closing: set[asyncio.Task[None]] = set()

    def renew(self) -> bool:
        """Make the channel anew if the files have changed since it was made; return whether they have.

        To be called while there is no connection: calls that go on would be cut. Files that cannot be used are logged
        once, and change nothing.
        """
        stamps = file_stamps(self._paths)
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            before, self._channel = self._channel, self._connect()
        except TlsFileError as error:
            _log.error("the new TLS files cannot be used: %s; those before stay in use", error)
            return False
        closing = asyncio.create_task(before.close(LAST_CALLS_SECONDS))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return True

    def unary_unary(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self._method("unary_unary", arguments, named)

    def unary_stream(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self._method("unary_stream", arguments, named)

    def stream_unary(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self._method("stream_unary", arguments, named)

    def stream_stream(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self._method("stream_stream", arguments, named)

    async def close(self, grace: float | None = None) -> None:
        """Close the channel, and those that it has replaced."""
        for closing in tuple(self._closing):
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._channel.close(grace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def _method(self, kind: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Callable[..., Any]:
        channel = self._channel
        method = getattr(channel, kind)(*arguments, **named)

        def call(*of_call: Any, **named_of_call: Any) -> Any:
            nonlocal channel, method
            if channel is not self._channel:
                channel = self._channel
                method = getattr(channel, kind)(*arguments, **named)
            return method(*of_call, **named_of_call)

        return call
