"""A channel whose calls carry a token, or other metadata."""

from collections.abc import Callable
from typing import Any, Protocol

from gateway.peers.grpc.wrapped_channel import WrappedChannel


class CarriedMetadata(Protocol):
    """What calls carry."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call that is made now."""


class AuthorizedChannel(WrappedChannel):
    """A channel that adds what it is given, as a token, to the metadata of each call, and is the channel in all else.

    Call credentials would do the same with a thread.
    """

    def __init__(self, channel: Any, carried: CarriedMetadata) -> None:
        super().__init__(channel)
        self._carried = carried

    def wrapped(self, path: str, method: Any) -> Callable[..., Any]:
        carried = self._carried

        def authorized(call: Any) -> Callable[..., Any]:
            def with_metadata(*arguments: Any, metadata: Any = None, **named: Any) -> Any:
                return call(*arguments, metadata=(*(metadata or ()), *carried.metadata), **named)

            return with_metadata

        made: Any = authorized(method)
        if hasattr(method, "future"):  # Those for threads begin calls by it that are waited for later.
            made.future = authorized(method.future)
        return made  # type: ignore[no-any-return]
