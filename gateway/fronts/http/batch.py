"""The answers to the calls of a batch, which are kept until all calls have been executed, and then sent one by one."""

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from gateway.core.errors import TooLarge
from gateway.core.model import JsonText
from gateway.fronts.http.long_texts import Held, LongText

UNCOUNTED = 4 << 10
"""A text up to this length is never refused: its call has been executed, and a batch holds a bounded number of them."""

MAX_BATCH_BYTES: Final = 256 << 20
"""What the answers to one batch take at most, in bytes, whatever the memory of the gateway leaves."""


class BatchHold:
    """What the answers to one batch hold together. It draws from `held`, and has a limit of its own."""

    def __init__(self, held: Held) -> None:
        self.size = 0
        self._held = held

    def grow(self, size: int) -> None:
        """Hold more. Raises TooLarge if it is too much for one batch, and Overloaded if there is no room for it."""
        if self.size + size > MAX_BATCH_BYTES:
            raise TooLarge(
                f"the answers to one batch take at most {MAX_BATCH_BYTES >> 20} MiB; call for this one alone"
            )
        self._held.grow(size)
        self.size += size

    def shrink(self, size: int) -> None:
        """Hold less."""
        self._held.shrink(size)
        self.size -= size


class KeptAnswer:
    """A long answer to one call, and the share that it has in the memory of the batch.

    `copies` is how many times its text will be in memory.
    """

    __slots__ = ("_copies", "_held", "size", "texts")

    def __init__(self, held: Held, copies: int) -> None:
        self.size = 0
        self.texts: list[JsonText] = []
        self._held = held
        self._copies = copies

    def grow(self, size: int) -> None:
        """Take more memory. Raises Overloaded or TooLarge if there is no room for it."""
        self._held.grow(size)
        self.size += size

    def shrink(self, size: int) -> None:
        """Take less memory."""
        self._held.shrink(size)
        self.size -= size

    async def keep(self, answer: JsonText | LongText) -> None:
        """Keep the answer as a whole. Raises what `grow` and reading it raise."""
        kept = 0
        if isinstance(answer, str):
            kept = self._add(answer, 0)
        else:
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    kept += self._add(piece, max(0, answer.shared - kept))
        # What it was made of is not held any more.
        self.shrink(self.size - kept)

    def forget(self) -> None:
        """Hold nothing any more."""
        self.shrink(self.size)
        self.texts = []

    def _add(self, text: JsonText, drawn: int) -> int:
        size = self._copies * sys.getsizeof(text)
        self.grow(max(0, size - drawn))
        self.texts.append(text)
        return size


class KeptText(LongText):
    """Answers as one text: that of a batch, or of a single call. Each gives its memory back when it has been read."""

    def __init__(self, answers: list[JsonText | KeptAnswer], *, batch: bool) -> None:
        self._answers = answers[::-1]
        self._before, self._after = "[]" if batch else ("", "")

    async def pieces(self) -> AsyncGenerator[JsonText, None]:
        before = self._before
        while self._answers:
            answer = self._answers.pop()
            yield before
            before = ","
            if isinstance(answer, str):
                yield answer
            else:
                for text in answer.texts:
                    yield text
                answer.forget()
        yield self._after
