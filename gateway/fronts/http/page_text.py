"""A page of runs or items as JSON. A long one is made while it is read, in slices, as its entries are held anyway."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.core.model import JsonText
from gateway.fronts.http.long_texts import IN_FLIGHT, PART, Held, LongText

_T = TypeVar("_T")


class PageText(LongText, Generic[_T]):
    """An array of entries, and what stands before and after it. `write` gives the pieces of one entry.

    `size` is about how large all entries are together, in bytes.
    """

    def __init__(
        self,
        around: tuple[JsonText, JsonText],
        entries: Sequence[_T],
        write: Callable[[_T], Iterable[JsonText]],
        size: int,
        fair_queue: FairQueue,
    ) -> None:
        self._around = around
        self._entries = entries
        self._write = write
        self._size = size
        self._fair_queue = fair_queue

    async def pieces(self) -> AsyncGenerator[JsonText, None]:
        await self._fair_queue.yield_turn()
        slices = FairSlices(self._fair_queue)
        yield self._around[0]
        comma = ""
        for entry in self._entries:
            yield comma
            comma = ","
            for piece in self._write(entry):
                yield piece
                await slices.checkpoint()
        yield self._around[1]

    async def fitting(self, held: Held) -> JsonText | LongText:
        """The text itself if it is short; otherwise `held` grows by what it is made of.

        Raises Overloaded if there is no room for it.
        """
        if self._size > PART:
            held.grow(IN_FLIGHT + self._size)
            return self
        return "".join([piece async for piece in self.pieces()])
