"""What encoded bytes expand to, counted while it grows."""

from io import BytesIO
from typing import Protocol

from gateway.concurrency.fair_queue import FairQueue
from gateway.core.errors import TooLarge
from gateway.fronts.http.expanding import Expander


class Holder(Protocol):
    """Counts bytes that are held."""

    def grow(self, size: int) -> None:
        """Hold more. Raises Overloaded if there is no room."""

    def shrink(self, size: int) -> None:
        """Hold less."""


class ExpandedContent:
    """Content that is being expanded, of at most `most` bytes. `named` is what the error calls it if it is larger.

    `held` grows by each piece before the next one is expanded, and by what the expander keeps besides. Expanding passes
    `fair_queue`.
    """

    def __init__(self, expander: Expander, most: int, held: Holder, fair_queue: FairQueue, named: str) -> None:
        self._expander = expander
        self._most = most
        self._held = held
        self._fair_queue = fair_queue
        self._named = named
        self._window = 0
        self._buffer = BytesIO()

    async def add(self, encoded: bytes) -> None:
        """Expand more. Raises TooLarge, Overloaded, and ParseError if it is malformed."""
        for piece in self._expander.expand(encoded):
            if self._buffer.tell() + len(piece) > self._most:
                raise TooLarge(f"{self._named} is larger than {self._most} bytes")
            in_window = min(len(piece), self._expander.window - self._window)
            self._held.grow(len(piece) + in_window)
            self._window += in_window
            self._buffer.write(piece)
            await self._fair_queue.yield_turn()

    def ended(self) -> bytes:
        """All of it, which stays held. Raises ParseError if it is not complete."""
        self._expander.end()
        self._held.shrink(self._window)
        self._window = 0
        # The buffer has grown in its place. It becomes the content without a copy.
        return self._buffer.getvalue()
