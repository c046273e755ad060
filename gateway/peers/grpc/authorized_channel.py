"""A channel whose calls carry a token, or other metadata."""

from collections.abc import Callable
from typing import Any, Protocol, Self


class CarriedMetadata(Protocol):
    """What calls carry."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call that is made now."""


class AuthorizedChannel:
    """A channel that adds what it is given, as a token, to the metadata of each call, and is the channel in all else.

    Interceptors would do the same with a task more for each call, and call credentials with a thread.
    """

    def __init__(self, channel: Any, carried: CarriedMetadata) -> None:
        self._channel = channel
        self._carried = carried

    def unary_unary(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self._authorized(self._channel.unary_unary(*arguments, **named))

    def unary_stream(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self._authorized(self._channel.unary_stream(*arguments, **named))

    def stream_unary(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self._authorized(self._channel.stream_unary(*arguments, **named))

    def stream_stream(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self._authorized(self._channel.stream_stream(*arguments, **named))

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._channel.__aexit__(*error)

    def __enter__(self) -> Self:
        self._channel.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._channel.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def _authorized(self, method: Any) -> Callable[..., Any]:
        carried = self._carried

        def call(*arguments: Any, metadata: Any = None, **named: Any) -> Any:
            return method(*arguments, metadata=(*(metadata or ()), *carried.metadata), **named)

        return call
