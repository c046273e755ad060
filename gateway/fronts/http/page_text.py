"""A page of runs or items as JSON. A long one is made while it is read, in slices, as its entries are held anyway."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from gateway.concurrency.fair_queue import FairQueue
from gateway.core.model import JsonText
from gateway.core.page_sizes import slices
from gateway.fronts.http.long_texts import IN_FLIGHT, PART, Held, LongText

_T = TypeVar("_T")


class PageText(LongText, Generic[_T]):
    """An array of entries, and what stands before and after it. `write` gives the pieces of one entry."""

    def __init__(
        self,
        around: tuple[JsonText, JsonText],
        entries: Sequence[_T],
        size: Callable[[_T], int],
        write: Callable[[_T], Iterable[JsonText]],
        fair_queue: FairQueue,
    ) -> None:
        self._around = around
        self._entries = entries
        self._size = size
        self._write = write
        self._fair_queue = fair_queue

    async def pieces(self) -> AsyncGenerator[JsonText, None]:
        yield self._around[0]
        comma = ""
        for part in slices(self._entries, self._size):
            await self._fair_queue.yield_turn()
            for entry in part:
                yield comma
                comma = ","
                for piece in self._write(entry):
                    yield piece
        yield self._around[1]

    async def fitting(self, held: Held) -> JsonText | LongText:
        """The text itself if it is short; otherwise `held` grows by what it is made of.

        Raises Overloaded if there is no room for it.
        """
        size = sum(map(self._size, self._entries))
        if size > PART:
            held.grow(IN_FLIGHT + size)
            return self
        return "".join([piece async for piece in self.pieces()])
