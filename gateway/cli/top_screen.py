"""What `top` shows: some lines about the gateway, and as many runs as fit."""

import time
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from msgspec import Struct
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from gateway.cli.figures import Figures, ServerFigures
from gateway.cli.kept_runs import SeenRuns
from gateway.cli.lines import printable
from gateway.cli.output import STYLES
from gateway.cli.run_table import RunTable, short_duration
from gateway.cli.sort_keys import SortKey
from gateway.core.model import RunState
from gateway.core.sizes import size_text

Piece: TypeAlias = tuple[str, str]
"""Some words and their style."""

_LABEL_WIDTH: Final = 9
_GAP: Final = "   "
_BAR: Final = 20
_MANY_SERVERS: Final = 8
_NO_ROOM: Final = 8
"""Lines of a terminal at least of which the gateway gets some: in a lower one, there are runs alone."""


class TopView(Struct, frozen=True):
    """What is to be shown: of which gateway, its runs, its figures or why there are none, and what keys do."""

    address: str
    runs: SeenRuns
    figures: Figures | None
    why_none: str | None
    key: SortKey
    skipped: int = 0
    note: str | None = None
    filtered: bool = False
    live: bool = True
    moment: str = ""


class TopPicture:
    """A view, as it is drawn on a console of any size."""

    def __init__(self, view: TopView) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        view = self._view
        above = [*head(view, console.width)]
        runs, below = view.runs.runs, []
        if view.live:
            above, rows = _shared(above, console.height)
            runs = runs[:rows]
            below = [Text()] * (rows - len(runs)) + [_foot(view, len(runs), console.width)]
        yield Group(*above, Text(), RunTable(console, live=True).of(runs, heading=True), *below)

    def rows(self, console: Console) -> int:
        """How many runs are shown at the same time."""
        return _shared([*head(self._view, console.width)], console.height)[1]


def _shared(above: list[Text], height: int) -> tuple[list[Text], int]:
    """The lines about the gateway that a terminal of this height has room for, and how many runs it shows."""
    above = above[: max(1, min(len(above), height - _NO_ROOM))]
    return above, max(1, height - len(above) - 3)


def rows_that_fit(height: int) -> int:
    """How many runs a terminal of this height may show at most."""
    return max(1, height - 3)


def head(view: TopView, width: int) -> Iterator[Text]:
    """The lines about the gateway: each has what fits into the width, the more important things first."""
    figures = view.figures
    title: list[Piece] = [(view.address, "bold")]
    if figures is not None:
        title += [(f"up {short_duration(int(figures.uptime_seconds * 1e9))}", "dim")] if figures.uptime_seconds else []
        title += [(f"{figures.workers:.0f} workers", "dim")] if figures.workers and figures.workers > 1 else []
        title += [(f"version {printable(figures.version)}", "dim")] if figures.version else []
    title += [("runtime away", "red")] if figures is not None and figures.upstream_up is False else []
    yield _line("gateway", title, width, view.moment)
    yield _line("runs", _runs(view), width)
    # What is not known yet, or at all, has no line.
    if figures is None:
        why = view.why_none or "reading the figures"
        yield Text(why[: width - 1], "dim", no_wrap=True, overflow="ellipsis")
        return
    for label, pieces in (
        ("items", _items(figures)),
        ("calls", _calls(figures)),
        ("streams", _streams(figures)),
        ("memory", _memory(figures)),
        ("servers", _servers(figures.components)),
    ):
        if pieces:
            yield _line(label, pieces, width)


def _line(label: str, pieces: Iterable[Piece], width: int, right: str = "") -> Text:
    text = Text(f"{label:<{_LABEL_WIDTH}}"[:width], "dim", no_wrap=True, overflow="crop")
    first = True
    for words, style in pieces:
        gap = "" if first else _GAP
        if text.cell_len + len(gap) + Text(words).cell_len >= width:
            if first:
                text.append(words[: max(0, width - text.cell_len - 1)], style)
            break
        text.append(gap)
        text.append(words, f"not dim {style}" if style != "dim" else style)
        first = False
    if right and text.cell_len + len(right) + 1 < width:
        text.append(right.rjust(width - 1 - text.cell_len))
    return text


def _runs(view: TopView) -> list[Piece]:
    runs, figures = view.runs, view.figures
    more = "more than " if runs.dropped else ""
    what = "match" if view.filtered else "not ended"
    pieces = [(f"{more}{runs.number:,} {what}", "")]
    if not runs.complete:
        pieces.append(("more are on their way", "dim"))
    pieces += [(f"{runs.states[state]:,} {state}", STYLES[state]) for state in RunState if runs.states[state]]
    if figures is not None:
        pieces += [
            (f"{_rate(rate)} {words}", "") for words, rate in figures.runs_per_second.items() if rate is not None
        ]
    return pieces


def _items(figures: Figures) -> list[Piece]:
    return [(f"{number:,.0f} {words}", "") for words, number in figures.items.items() if number is not None]


def _calls(figures: Figures) -> list[Piece]:
    pieces = [
        (f"{_rate(rate)} {name}", "")
        for kind, name in (("grpc", "gRPC"), ("jsonrpc", "JSON-RPC"))
        if (rate := figures.calls_per_second.get(kind)) is not None
    ]
    if figures.errors_per_second is not None:
        pieces.append((f"{_rate(figures.errors_per_second)} errors", "red" if figures.errors_per_second else "dim"))
    pieces += [
        (f"{name} {_seconds(value)}", "") for name, value in figures.latency_seconds.items() if value is not None
    ]
    return pieces


def _streams(figures: Figures) -> list[Piece]:
    pieces: list[Piece] = []
    if figures.open_streams:
        pieces.append((f"{sum(figures.open_streams.values()):,.0f} open", ""))
    if figures.updates_per_second is not None:
        pieces.append((f"{_rate(figures.updates_per_second)} updates", ""))
    if figures.followers:
        each = (("run", figures.followed_runs), ("set", figures.followed_sets))
        followed = (_number(number, what) for what, number in each if number)
        of = ", ".join(followed)
        followers = _number(sum(figures.followers.values()), "follower")
        pieces.append((f"{followers} of {of}" if of else followers, ""))
    return pieces


def _memory(figures: Figures) -> list[Piece]:
    pieces: list[Piece] = []
    used, limit = figures.memory.get("used"), figures.memory.get("limit")
    if used is not None and limit:
        part = min(1.0, used / limit)
        style = "red" if part > 0.9 else "yellow" if part > 0.7 else "green"
        pieces.append((f"{size_text(int(used))} of {size_text(int(limit))}", style))
    if figures.resident_bytes:
        pieces.append((f"{size_text(int(figures.resident_bytes))} resident", ""))
    if figures.cpus is not None:
        pieces.append((f"{figures.cpus * 100:.0f} % of a core", ""))
    turn = figures.event_loop_turn_seconds.get("p99")
    if turn is not None:
        pieces.append((f"turns p99 {_seconds(turn)}", ""))
    return pieces


def _servers(servers: list[ServerFigures]) -> list[Piece]:
    # Those that are away come first: a narrow line has to show them.
    ordered = sorted(servers, key=lambda server: (server.up is not False, server.prefix))
    pieces = []
    for server in ordered[:_MANY_SERVERS]:
        words = printable(server.prefix) + (" away" if server.up is False else "")
        if server.executions_per_second:
            words += f" {_rate(server.executions_per_second)}"
        style = "red" if server.up is False else "green" if server.up else ""
        if server.errors_per_second:
            words, style = f"{words}, {_rate(server.errors_per_second)} errors", "red"
        pieces.append((words, style))
    return pieces


def _foot(view: TopView, shown: int, width: int) -> Text:
    after = f"{view.skipped + 1:,} to {view.skipped + shown:,}" if shown < view.runs.number else ""
    keys = [("q quit", "dim"), (f"s sorted by {view.key}", "dim")] + ([("arrows scroll", "dim")] if after else [])
    text = Text(no_wrap=True, overflow="crop")
    for words, style in ([(view.note, "yellow")] if view.note else []) + keys:
        if text.cell_len + len(words) + 3 < width:
            text.append(f"{_GAP if text.cell_len else ''}{words}", style)
    if after and text.cell_len + len(after) + 2 < width:
        text.append(after.rjust(width - 1 - text.cell_len), "dim")
    return text


def _number(number: float, what: str) -> str:
    return f"{number:,.0f} {what}{'' if number == 1 else 's'}"


def _rate(rate: float) -> str:
    """A rate for people, with a digit after the point where that says something."""
    return f"{rate:,.0f}/s" if rate >= 10 or rate == 0 else f"{rate:.1f}/s"


def _seconds(seconds: float) -> str:
    """A short time for people."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.1f} ms"


def time_of_day() -> str:
    """The time, as a clock shows it."""
    return time.strftime("%H:%M:%S")
