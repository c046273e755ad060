"""The commands from a benchmark to its server: a JSON object a line on standard input, answered on standard output."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

MIN_STEP, MAX_STEP = 0.001, 0.02
"""Seconds between two looks at the clock: as few as uvloop's timers can do, and so few that a new rate counts soon."""

MAX_CHANGES = 100
"""At most so many changes are made before the other tasks of the event loop have a turn."""


def tell(**members: Any) -> None:
    """Write a JSON object as a line on standard output."""
    sys.stdout.write(json.dumps(members) + "\n")
    sys.stdout.flush()


class Pacer:
    """Makes changes at a rate. A late event loop makes up for the changes that it has missed."""

    def __init__(self, change: Callable[[], None]) -> None:
        self._change = change
        self._rate = 0.0
        self._step = MAX_STEP
        self._since = time.monotonic()
        self._made = 0

    def set(self, rate: float) -> None:
        """Make `rate` changes a second from now on."""
        self._rate, self._since, self._made = rate, time.monotonic(), 0
        self._step = max(MIN_STEP, min(MAX_STEP, 1 / rate)) if rate else MAX_STEP

    async def run(self) -> None:
        """Make changes until cancelled."""
        while True:
            due = int((time.monotonic() - self._since) * self._rate) - self._made
            for _ in range(min(due, MAX_CHANGES)):
                self._change()
                self._made += 1
            await asyncio.sleep(0 if due > MAX_CHANGES else self._step)


async def obey(pacer: Pacer, statistics: Callable[[], dict[str, Any]]) -> None:
    """Execute commands until standard input ends: `{"rate": R}` sets the rate of changes, `{}` does nothing.

    Each command is answered with the statistics.
    """
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    pacing = asyncio.create_task(pacer.run())
    try:
        while line := await commands.readline():
            command = json.loads(line)
            if "rate" in command:
                pacer.set(command["rate"])
            tell(**statistics())
    finally:
        pacing.cancel()
