"""A terminal as its user sees it: what a program draws on a pseudo-terminal, as lines of text."""

import asyncio
import codecs
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Callable

_SEQUENCE = re.compile(r"\x1b(?:\[([0-9;?]*)([A-Za-z])|[=>78]|\([A-Z0-9])|[\r\n\b]|[^\x1b\r\n\b]")


class PseudoTerminal:
    """A screen with a keyboard. `terminal` is the end for the program; `close_terminal` when it has been started.

    Of what programs may draw, it knows what rich does, and nothing of colours.
    """

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self._screen, self.terminal = pty.openpty()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self.drawn = ""
        """Everything that was drawn, with the sequences that steer the terminal."""
        self.whole_screen = self.cursor_hidden = False
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size. The program has to be told by SIGWINCH."""
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self._width, self._height = width, height
        self._cells = [[" "] * width for _ in range(height)]
        self._row = self._column = 0

    def close_terminal(self) -> None:
        os.close(self.terminal)

    def attributes(self) -> list[object]:
        """How the terminal treats what is typed."""
        return termios.tcgetattr(self._screen)

    def press(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    async def until(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """Read on until the lines are what is wanted; return them."""
        while not seen(self.lines):
            assert await self._read(), "\n".join(self.lines)
        return self.lines

    async def to_the_end(self) -> None:
        """Read on until the program has ended."""
        while await self._read():
            pass
        os.close(self._screen)

    async def _read(self) -> bool:
        try:
            data = await asyncio.to_thread(os.read, self._screen, 65536)
        except OSError:  # The program has closed the other end.
            data = b""
        text = self._decoder.decode(data)
        self.drawn += text
        self._rest += text
        while match := _SEQUENCE.match(self._rest):
            self._rest = self._rest[match.end() :]
            self._draw(match)
        return bool(data)

    def _draw(self, match: re.Match[str]) -> None:
        text, steer = match[0], match[2]
        if steer is not None:
            self._steer(match[1], steer)
        elif text == "\r":
            self._column = 0
        elif text == "\n":
            self._next_row()
        elif text == "\b":
            self._column = max(0, self._column - 1)
        elif not text.startswith("\x1b"):
            if self._column == self._width:  # A line that is full goes on in the next one.
                self._column = 0
                self._next_row()
            self._cells[self._row][self._column] = text
            self._column += 1

    def _next_row(self) -> None:
        self._row += 1
        if self._row == self._height:
            self._row -= 1
            self._cells = [*self._cells[1:], [" "] * self._width]

    def _steer(self, given: str, letter: str) -> None:
        numbers = [int(number or 0) for number in given.strip("?").split(";")]
        if letter == "H":
            row, column = (*numbers, 1)[:2] if len(numbers) > 1 else (numbers[0], 1)
            self._row = min(self._height, max(1, row)) - 1
            self._column = min(self._width, max(1, column)) - 1
        elif letter == "A":
            self._row = max(0, self._row - max(1, numbers[0]))
        elif letter == "K":
            self._cells[self._row] = [" "] * self._width
        elif letter == "J":
            self._cells = [[" "] * self._width for _ in range(self._height)]
        elif letter in "hl" and given == "?25":
            self.cursor_hidden = letter == "l"
        elif letter in "hl" and given == "?1049":
            self.whole_screen = letter == "h"
