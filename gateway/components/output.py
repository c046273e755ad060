"""What a component server prints: lines for the log, bounded, and the last of them for the message about its end."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from gateway.core.counted import counted
from gateway.telemetry.log_text import harmless, shortened

LINES_PER_SECOND: Final = 100
"""How many lines of one server the log takes in a second. It says how many there were besides."""

LONGEST_LINE: Final = 2_000
"""How much of a line is shown, in bytes."""

LAST_LINES: Final = 20
"""How many lines are kept for the message about the end of the server."""

SHOWN_LINES: Final = 50
"""How many lines are kept for those who look at the server."""

SHOWN_LENGTH: Final = 500
"""How much of such a line is kept, in characters."""

_CHUNK: Final = 4_096

_log = logging.getLogger(__name__)


OutputStream: TypeAlias = Literal["stdout", "stderr"]


class OutputLine(NamedTuple):
    """A line that a server has printed, and when, in seconds since the epoch."""

    time: float
    stream: OutputStream
    text: str


class ServerOutput:
    """The output of one component server, which goes to the log line by line, after `name`.

    The bound holds for all its processes together, one after the other. `last` has the last lines of the process that
    there is, and `recent` those of all.
    """

    def __init__(self, name: str) -> None:
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.recent: deque[OutputLine] = deque(maxlen=SHOWN_LINES)
        self._name = name
        self._fields = {"prefix": name}
        self._left = LINES_PER_SECOND
        self._unsaid = 0
        self._window: asyncio.TimerHandle | None = None

    async def read(self, stream: asyncio.StreamReader, name: OutputStream) -> None:
        """Log lines as they come, up to the end of the stream, in bounded memory and short pieces of work."""
        line, dropped = b"", 0
        while chunk := await stream.read(_CHUNK):
            *ended, rest = chunk.split(b"\n")
            for part in ended:
                self.add(line + part, dropped, name)
                line, dropped = b"", 0
            line += rest
            if len(line) > LONGEST_LINE:
                dropped += len(line) - LONGEST_LINE
                line = line[:LONGEST_LINE]
            await asyncio.sleep(0)
        self.add(line, dropped, name)

    def tail(self) -> str:
        """The last lines, for the end of a message."""
        return "".join(["; the last that it printed:", *(f"\n    {line}" for line in self.last)]) if self.last else ""

    def add(self, line: bytes, dropped: int = 0, stream: OutputStream = "stderr") -> None:
        """Take a line, of which `dropped` bytes are left out at the end."""
        if not line.strip():
            return
        text = shown(line, dropped)
        self.last.append(text)
        self.recent.append(OutputLine(time.time(), stream, shortened(text, SHOWN_LENGTH)))
        if self._window is None:
            self._window = asyncio.get_running_loop().call_later(1.0, self._next_window)
        if self._left:
            self._left -= 1
            _log.info("%s: %s", self._name, text, extra=self._fields)
        else:
            self._unsaid += 1

    def _next_window(self) -> None:
        """A second has passed."""
        self._window = None
        self._left = LINES_PER_SECOND
        if self._unsaid:
            more = counted(self._unsaid, "line")
            _log.info("%s: ... and %s more in this second", self._name, more, extra=self._fields)
            self._unsaid = 0

    def close(self) -> None:
        """Say what has not been said."""
        if self._window is not None:
            self._window.cancel()
            self._next_window()


def shown(line: bytes, dropped: int = 0) -> str:
    """A line as text that is harmless in a terminal; its end, and the `dropped` bytes after it, are cut."""
    more = dropped + max(0, len(line) - LONGEST_LINE)
    text = harmless(line[:LONGEST_LINE].rstrip().decode(errors="replace"))
    return f"{text} ... ({counted(more, 'byte')} more)" if more else text


def shown_command(command: Sequence[str]) -> str:
    """A command in a message: what it is, in a length that can be read."""
    return shown(" ".join(command).encode(errors="replace"))
