"""Runs as the rows of a table on a terminal, of any width that it has."""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.lines import printable
from gateway.cli.output import STYLES, finished_items

if TYPE_CHECKING:
    from gateway.client import RunStatus

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))

_WIDTHS: Final = {"RUN": 36, "STATE": 9, "PROGRESS": 10, "ITEMS": 11, "AGE": 4, "TOOK": 4, "FLOW": 10, "LABELS": 10}
"""The columns in their order, and how many characters each has at least."""

_IMPORTANCE: Final = ("STATE", "FLOW", "ITEMS", "AGE", "LABELS", "TOOK")
"""A narrow terminal shows the first of these that fit."""

_LIVE_IMPORTANCE: Final = ("STATE", "PROGRESS", "TOOK", "FLOW", "ITEMS", "AGE", "LABELS")
"""The same where runs are seen while they go on."""

_SHORTEST_RUN: Final = 9
_LONGEST_FLOW: Final = 32
_GAP: Final = 2


class RunTable:
    """Makes tables of runs whose columns are alike: pages that are printed one after the other look like one.

    `live`: of runs that go on meanwhile, with bars that show how far they are.
    """

    def __init__(self, console: Console, *, live: bool = False) -> None:
        self._ascii = console.options.ascii_only
        # A terminal that is too narrow for both has the whole state, and the beginning of the id.
        left = console.width
        run_width = max(_SHORTEST_RUN, min(_WIDTHS["RUN"], left - _GAP - _WIDTHS["STATE"]))
        shown = {"RUN": run_width}
        left -= run_width + _GAP
        for name in _LIVE_IMPORTANCE if live else _IMPORTANCE:
            if _WIDTHS[name] > left:
                break
            shown[name] = _WIDTHS[name]
            left -= _WIDTHS[name] + _GAP
        # What is left is for the texts of users.
        if "LABELS" in shown:
            more = max(0, min(_LONGEST_FLOW - shown["FLOW"], left // 2))
            shown["FLOW"] += more
            shown["LABELS"] += max(0, left - more)
        elif "FLOW" in shown:
            shown["FLOW"] += max(0, left)
        self._columns = {name: shown[name] for name in _WIDTHS if name in shown}

    def of(self, runs: Iterable["RunStatus"], *, heading: bool) -> Table:
        """Return a table with a row for each run."""
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=heading, header_style="dim")
        for name, width in self._columns.items():
            table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
        now = time.time_ns()
        for run in runs:
            cells = _cells(run, now, self._ascii)
            table.add_row(*(cells[name] for name in self._columns))
        return table


def _cells(run: "RunStatus", now: int, ascii_only: bool) -> dict[str, Text]:
    """What each column says of a run."""
    finished = finished_items(run)
    return {
        "RUN": Text(printable(run.run_id)),
        "STATE": Text(run.status, STYLES[run.status]),
        "PROGRESS": _bar(run, finished, ascii_only),
        "ITEMS": Text(f"{finished}/{run.items.total}"),
        "AGE": Text(short_duration(now - run.created_at_ns)),
        "TOOK": Text(_took(run, now)),
        "FLOW": Text(printable(run.flow_name or run.flow_id)),
        "LABELS": Text(printable(labels_text(run))),
    }


def _bar(run: "RunStatus", finished: int, ascii_only: bool) -> Text:
    width = _WIDTHS["PROGRESS"]
    # A bar is full when all items have ended, and not before.
    full = width * finished // run.items.total if run.items.total else width * run.status.terminal
    done, rest = (
        ("=", "-") if ascii_only else ("\N{BOX DRAWINGS HEAVY HORIZONTAL}", "\N{BOX DRAWINGS LIGHT HORIZONTAL}")
    )
    return Text.assemble((done * full, STYLES[run.status]), (rest * (width - full), "dim"))


def labels_text(run: "RunStatus") -> str:
    """The labels of a run, that of its flow first."""
    pairs = [f"{name}={value}" for name, value in sorted(run.labels.items())]
    return " ".join([run.flow_label, *pairs] if run.flow_label else pairs)


def short_duration(nanoseconds: int) -> str:
    """A duration in the largest unit of which it has two, or the smallest one: `3h`."""
    seconds = max(0, nanoseconds // 10**9)
    unit, length = next((each for each in _UNITS if seconds >= 2 * each[1]), _UNITS[-1])
    return f"{seconds // length}{unit}"


def print_runs(runs: Sequence["RunStatus"], *, heading: bool) -> None:
    """Print runs as the rows of a table."""
    console = Console(highlight=False)
    console.print(RunTable(console).of(runs, heading=heading))


def _took(run: "RunStatus", now: int) -> str:
    """How long a run has taken, or takes by now; nothing before it has begun."""
    if run.started_at_ns is None and run.completed_at_ns is None:
        return ""
    begun = run.created_at_ns if run.started_at_ns is None else run.started_at_ns
    return short_duration((run.completed_at_ns or now) - begun)
