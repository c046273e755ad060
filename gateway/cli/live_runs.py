"""A table on a terminal that follows a set of runs, as many of the newest as fit."""

from collections.abc import Iterable
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from gateway.cli.interrupts import cursor_is_hidden
from gateway.cli.kept_runs import KeptRuns
from gateway.cli.output import notice_of, number_of_runs
from gateway.cli.run_table import RunTable
from gateway.client import RunSetEvent

KEPT: Final = 2_000
"""How many runs are kept at least, the newest ones: a set may have millions, and a terminal shows few of them."""

_LINES_AROUND: Final = 3
"""Lines of the terminal that rows cannot have: the heading, the count, and the one of the cursor."""


class LiveRuns(KeptRuns):
    """What is shown of a set of runs. Events are added by one thread, and the picture is drawn by another."""

    def __init__(self) -> None:
        super().__init__(KEPT)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        seen = self.seen(max(1, console.height - _LINES_AROUND))
        more = "more than " if seen.dropped else ""
        state = "" if seen.complete else ", and more are on their way"
        yield RunTable(console).of(seen.runs, heading=True)
        shown = f", the newest {len(seen.runs):,} shown" if seen.number > len(seen.runs) else ""
        yield Text(f"{more}{number_of_runs(seen.number)}{shown}{state}", "dim", no_wrap=True, overflow="crop")


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
