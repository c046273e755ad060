"""A table on a terminal that follows a set of runs, as many of the newest as fit."""

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from gateway.cli.interrupts import cursor_is_hidden
from gateway.cli.output import notice_of, number_of_runs
from gateway.cli.run_table import RunTable
from gateway.client import CaughtUp, RunSet, RunSetEvent

if TYPE_CHECKING:
    from gateway.client import RunStatus

KEPT: Final = 2_000
"""How many runs are kept at least, the newest ones: a set may have millions, and a terminal shows few of them."""

_LINES_AROUND: Final = 3
"""Lines of the terminal that rows cannot have: the heading, the count, and the one of the cursor."""


class LiveRuns:
    """What is shown of a set of runs. Events are added by one thread, and the picture is drawn by another."""

    def __init__(self) -> None:
        self._set = RunSet()
        self._complete = False
        self._dropped = False
        self._lock = threading.Lock()

    def add(self, event: RunSetEvent) -> None:
        """Show what an event has changed from now on."""
        with self._lock:
            self._complete |= isinstance(event, CaughtUp)
            if event.restarted:
                self._complete, self._dropped = isinstance(event, CaughtUp), False
            self._set.add(event)
            if len(self._set.runs) > 2 * KEPT:
                self._dropped = True
                self._set.runs = {run.run_id: run for run in self._newest(KEPT)}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = max(1, console.height - _LINES_AROUND)
        with self._lock:
            runs, number = self._newest(rows), len(self._set.runs)
            more = "more than " if self._dropped else ""
            state = "" if self._complete else ", and more are on their way"
        yield RunTable(console).of(runs, heading=True)
        shown = f", the newest {len(runs):,} shown" if number > len(runs) else ""
        yield Text(f"{more}{number_of_runs(number)}{shown}{state}", "dim", no_wrap=True, overflow="crop")

    def _newest(self, number: int) -> "list[RunStatus]":
        runs = sorted(self._set.runs.values(), key=lambda run: (run.created_at_ns, run.run_id), reverse=True)
        return runs[:number]


def show_live_runs(events: Iterable[RunSetEvent]) -> None:
    """Draw a table on the terminal that follows the events."""
    shown = LiveRuns()
    cursor_is_hidden(True)
    try:
        with Live(shown, console=Console(highlight=False)) as live:
            for event in events:
                if notice := notice_of(event):
                    live.console.print(notice)
                shown.add(event)
    finally:
        cursor_is_hidden(False)
