"""What component servers print: a flood of it costs a bounded number of lines in the log, bounded memory, and turns."""

import asyncio
import logging
import tracemalloc
from collections.abc import Iterator

import pytest

from gateway.components.output import LAST_LINES, LINES_PER_SECOND, LONGEST_LINE, ServerOutput

MOST_AT_ONCE = 4_096
"""How much may be worked on in one turn of the event loop, in bytes."""

FLOODS = {
    "lines": b"a line of a flood\n" * 20_000,
    "long lines": (b"x" * 10_000 + b"\n") * 400,
    "blank lines": b"\n" * 400_000,
    "control characters": b"\x1b[31m\xff\n" * 20_000,
    "one line without an end": b"x" * 4_000_000,
}


class Flood(asyncio.StreamReader):
    """The output of a server that is always ahead; `reads` is how often some of it was taken."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.reads = 0
        self._content = content
        self._place = 0

    async def read(self, n: int = -1) -> bytes:
        assert 0 < n <= MOST_AT_ONCE
        self.reads += 1
        chunk = self._content[self._place : self._place + n]
        self._place += n
        return chunk


class Counter(logging.Handler):
    """Counts what is logged, and keeps nothing: lines, and messages that say how many lines were left out."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = self.summaries = self.left_out = self.longest = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.longest = max(self.longest, len(text))
        if text.endswith("lines more in this second"):
            self.summaries += 1
            self.left_out += int(text.split()[3])
        else:
            self.lines += 1


@pytest.fixture
def log() -> Iterator[Counter]:
    counter, logger = Counter(), logging.getLogger("gateway.components.output")
    level, propagates = logger.level, logger.propagate
    logger.addHandler(counter)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # What captures logs keeps them.
    yield counter
    logger.removeHandler(counter)
    logger.setLevel(level)
    logger.propagate = propagates


@pytest.mark.parametrize("content", FLOODS.values(), ids=FLOODS)
async def test_a_flood_costs_bounded_lines_memory_and_turns(log: Counter, content: bytes) -> None:
    flood, output, turns = Flood(content), ServerOutput("/t"), 0
    tracemalloc.start()
    try:
        reading = asyncio.create_task(output.read(flood, "stderr"))
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        await reading
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert turns >= flood.reads > len(content) // MOST_AT_ONCE
    assert peak < 3_500_000  # 1 MB for the last lines, more where the machine is slow; the flood has 4 MB.
    assert len(output.last) <= LAST_LINES
    output.close()
    # One second more for each that the log has told the end of, however slow the machine is.
    assert log.lines <= LINES_PER_SECOND * (log.summaries + 1)
    assert log.lines + log.left_out == sum(1 for line in content.split(b"\n") if line)
    assert log.longest < 5 * LONGEST_LINE
