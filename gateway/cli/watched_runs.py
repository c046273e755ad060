"""The runs that `watch` waits for: how far each is, whether all have ended, and how."""

import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from gateway.cli.errors import ExitCode
from gateway.cli.output import number_of_runs
from gateway.cli.run_table import RunTable
from gateway.core.model import RunState

if TYPE_CHECKING:
    from gateway.client import RunStatus

KEPT: Final = 1_000
"""How many runs that have ended are kept at least, to be shown: of the others, the state is enough."""

_LINES_AROUND: Final = 3
"""As in a live table: the heading, the count, and the line of the cursor."""


class WatchedRuns:
    """One thread adds runs, and another draws them."""

    def __init__(self) -> None:
        self._open: dict[str, RunStatus] = {}
        self._ended: dict[str, RunState] = {}
        self._shown: dict[str, RunStatus] = {}
        self._error: ExitCode | None = None
        self._lock = threading.Lock()

    def add(self, run: "RunStatus") -> None:
        """Take note of the state of a run."""
        with self._lock:
            self._shown[run.run_id] = run
            if not run.finished:
                self._open[run.run_id] = run
                return
            self._open.pop(run.run_id, None)
            self._ended[run.run_id] = run.status
            if len(self._shown) > 2 * (KEPT + len(self._open)):
                self._shown = {**self._open, **dict([*self._shown.items()][-KEPT:])}

    def leave_out(self, run_id: str, error: ExitCode | None = None) -> None:
        """Wait for a run no longer: it has been deleted, or it cannot be followed, which is an error."""
        with self._lock:
            self._open.pop(run_id, None)
            if run_id not in self._ended:
                self._shown.pop(run_id, None)
            self._error = self._error or error

    def begin_anew(self) -> None:
        """Forget all runs."""
        with self._lock:
            self._open, self._ended, self._shown = {}, {}, {}

    @property
    def all_ended(self) -> bool:
        """Whether there is no run to wait for."""
        return not self._open

    @property
    def none(self) -> bool:
        """Whether there has been no run."""
        return not self._open and not self._ended

    def exit_code(self) -> ExitCode:
        """The exit code of the worst: a run that cannot be followed, one that has not succeeded, or success."""
        if self._error is not None:
            return self._error
        return ExitCode.OK if {*self._ended.values()} <= {RunState.SUCCESS} else ExitCode.RUN_FAILED

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = max(1, console.height - _LINES_AROUND)
        with self._lock:
            runs = [*self._shown.values()]
            if len(runs) > rows:
                # Those that go on count more, then those that have ended last.
                ended = [run for run in reversed(runs) if run.finished]
                runs = [*self._open.values(), *ended][:rows]
            states = Counter(run.status for run in self._open.values()) + Counter(self._ended.values())
        yield RunTable(console, live=True).of(runs, heading=True)
        counts = ", ".join(f"{states[state]:,} {state}" for state in RunState if states[state])
        total = number_of_runs(sum(states.values()))
        yield Text(f"{total}: {counts}" if counts else total, "dim", no_wrap=True, overflow="crop")
