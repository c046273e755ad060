"""The answers to the calls of a batch, which are kept until all calls have been executed, and then sent one by one."""

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.core.model import JsonText
from gateway.fronts.http.long_texts import Held, LongText

_UNCOUNTED = 4 << 10
"""A text up to this length is never refused: its call has been executed, and a batch holds a bounded number of them."""


class KeptAnswer(LongText):
    """The answer to one call, and the share that it has in the memory of the batch.

    `copies` is how many times its text will be in memory.
    """

    def __init__(self, held: Held, copies: int = 1) -> None:
        self.size = 0
        self.length = 0
        """How long the answer is, in characters."""
        self._texts: list[JsonText] = []
        self._held = held
        self._copies = copies

    @property
    def text(self) -> JsonText:
        """The answer, if it is short."""
        return "".join(self._texts)

    def grow(self, size: int) -> None:
        """Take more memory. Raises Overloaded if there is no room for it."""
        self._held.grow(size)
        self.size += size

    def shrink(self, size: int) -> None:
        """Take less memory."""
        self._held.shrink(size)
        self.size -= size

    async def keep(self, answer: JsonText | LongText) -> None:
        """Keep the answer as a whole. Raises Overloaded if there is no room for it, and what reading it raises."""
        kept = 0
        if isinstance(answer, LongText):
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    kept += self._add(piece)
        else:
            kept = self._add(answer)
        # What it was made of is not held any more.
        self.shrink(self.size - kept)

    def replace(self, text: JsonText) -> None:
        """Keep a short text instead of what has been kept so far."""
        self.forget()
        self._texts, self.length = [text], len(text)

    def forget(self) -> None:
        """Hold nothing any more."""
        self.shrink(self.size)
        self._texts = []
        self.length = 0

    async def pieces(self) -> AsyncGenerator[JsonText, None]:
        for text in self._texts:
            yield text

    def _add(self, text: JsonText) -> int:
        size = self._copies * sys.getsizeof(text) if len(text) > _UNCOUNTED or self._texts else 0
        self.grow(size)
        self._texts.append(text)
        self.length += len(text)
        return size


class BatchText(LongText):
    """The answers to a batch. Each gives its memory back when it has been read."""

    def __init__(self, members: list[KeptAnswer]) -> None:
        self._members = members[::-1]

    async def pieces(self) -> AsyncGenerator[JsonText, None]:
        before = "["
        while self._members:
            member = self._members.pop()
            yield before
            before = ","
            async for piece in member.pieces():
                yield piece
            del piece
            member.forget()
        yield "]"
