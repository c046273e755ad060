"""A line on a terminal that shows how far a run is, in any width that the terminal has or gets."""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from gateway.cli.interrupts import cursor_is_hidden
from gateway.cli.output import STYLES, counts_text, notice_of
from gateway.core.model import ItemStatistics, RunState

if TYPE_CHECKING:
    from gateway.client import RunStatus, RunUpdate

LEAST_BAR: Final = 4
LONGEST_BAR: Final = 40
"""Characters of the bar. There is none if this few do not fit."""


class RunLine:
    """What is shown of a run: its state, a bar, how many items have finished, all counts, and the time.

    What does not fit is left out: the time first, then the counts, the state and the bar.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self._state = RunState.PENDING
        self._items = ItemStatistics(total=0)

    def update(self, run: "RunStatus") -> None:
        """Show this state from now on."""
        self._state, self._items = run.status, run.items

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        items, width = self._items, options.max_width
        finished = items.success + items.failed + items.cancelled
        count = f"{finished}/{items.total}"
        room = width - len(count) - 1
        if room < LEAST_BAR:
            yield Text(count[:width], no_wrap=True, overflow="crop")
            return
        before = f"{self._state:<9} "
        after = [f" {text}" for text in (counts_text(items), str(timedelta(seconds=int(self._clock() - self._begun))))]
        while after and len(before) + sum(map(len, after)) > room - LEAST_BAR:
            after.pop()
        if len(before) > room - LEAST_BAR:
            before = ""
        bar = min(LONGEST_BAR, room - len(before) - sum(map(len, after)))
        yield from console.render(Text(before, STYLES[self._state], no_wrap=True, end=""), options)
        shown = ProgressBar(total=items.total or None, completed=finished, width=bar)
        yield from console.render(shown, options.update(width=bar))
        yield from console.render(Text(f" {count}{''.join(after)}", no_wrap=True, end=""), options)
        yield Segment.line()


def show_progress(updates: Iterable["RunUpdate"]) -> "RunStatus":
    """Draw a line on the terminal that follows the updates. Return the state of the last one."""
    line = RunLine()
    cursor_is_hidden(True)
    try:
        with Live(line, console=Console(highlight=False)) as live:
            for update in updates:
                if notice := notice_of(update):
                    live.console.print(notice)
                line.update(update.run)
            live.refresh()
    finally:
        cursor_is_hidden(False)
    return update.run
