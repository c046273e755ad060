"""A channel whose methods are others, and that is the channel which it wraps in all else.

Interceptors would do the same with a task more for each call.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self


class WrappedChannel(ABC):
    """A channel, of either kind of grpc, whose methods `wrapped` makes."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    @abstractmethod
    def wrapped(self, path: str, method: Any) -> Callable[..., Any]:
        """What is called in place of a method of the channel; `path` is `/SERVICE/METHOD`."""

    def unary_unary(self, path: str, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self.wrapped(path, self._channel.unary_unary(path, *arguments, **named))

    def unary_stream(self, path: str, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self.wrapped(path, self._channel.unary_stream(path, *arguments, **named))

    def stream_unary(self, path: str, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self.wrapped(path, self._channel.stream_unary(path, *arguments, **named))

    def stream_stream(self, path: str, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """As that of the channel."""
        return self.wrapped(path, self._channel.stream_stream(path, *arguments, **named))

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
