"""The picture of `top`: what it shows in which room."""

from collections import Counter
from typing import Any

import pytest
from rich.console import Console

from gateway.cli.figures import Figures, ServerFigures
from gateway.cli.kept_runs import SeenRuns
from gateway.cli.sort_keys import SortKey
from gateway.cli.top_screen import TopPicture, TopView, rows_that_fit
from gateway.client import ItemStatistics, RunState, RunStatus

FIGURES = Figures(
    version="1.2",
    uptime_seconds=7_300,
    calls_per_second={"grpc": 1_250.4, "jsonrpc": 0.4},
    errors_per_second=2.5,
    latency_seconds={"p50": 0.0004, "p99": 1.25},
    memory={"used": 3 << 20, "limit": 4 << 20},
    items={"executing": 1_024, "waiting": 0},
    open_streams={"GetRun": 3},
    followers={"status": 20, "set": 1},
    followed_runs=4,
    components=[ServerFigures("/a", True, 10, 0), ServerFigures("/b\x1b[2J", False, None, None)],
    upstream_up=False,
)


def runs(shown: int, **members: Any) -> SeenRuns:
    made = [
        RunStatus(f"run-{index}", "f", RunState.RUNNING, ItemStatistics(total=4, success=index % 5), created_at_ns=0)
        for index in range(shown)
    ]
    seen = SeenRuns(made, shown, Counter({RunState.RUNNING: shown}), complete=True, dropped=False)
    return seen._replace(**members)


def view(**members: object) -> TopView:
    usual = {"address": "host:1", "runs": runs(3), "figures": FIGURES, "why_none": None, "key": SortKey.NEWEST}
    return TopView(**{**usual, **members})  # type: ignore[arg-type]


def drawn(shown: TopView, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, no_color=True, legacy_windows=False)
    with console.capture() as capture:
        console.print(TopPicture(shown))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_gateway_stands_above_the_runs() -> None:
    lines = drawn(view(moment="12:30:45"))
    assert lines[:9] == [
        "gateway  host:1   up 2h   version 1.2   runtime away                   12:30:45",
        "runs     3 not ended   3 running",
        "items    1,024 executing   0 waiting",
        "calls    1,250/s gRPC   0.4/s JSON-RPC   2.5/s errors   p50 0.4 ms   p99 1.2 s",
        "streams  3 open   21 followers of 4 runs",
        "memory   3 MiB of 4 MiB",
        "servers  /b\N{REPLACEMENT CHARACTER}[2J away   /a 10/s",
        "",
        "RUN                                   STATE      PROGRESS    TOOK  FLOW",
    ]
    assert lines[9].split() == ["run-0", "running", "─" * 10, "f"]
    assert lines[11].split() == ["run-2", "running", "━" * 5 + "─" * 5, "f"]
    assert lines[-1] == "q quit   s sorted by newest"
    assert len(lines) == 24


def test_without_figures_a_quiet_line_says_so() -> None:
    lines = drawn(view(figures=None, why_none="no figures: they are off"))
    assert lines[1:4] == ["runs     3 not ended   3 running", "no figures: they are off", ""]


@pytest.mark.parametrize("width", [1, 5, 20, 40, 79, 200])
@pytest.mark.parametrize("height", [1, 4, 8, 12, 24, 60])
def test_any_room_is_enough(width: int, height: int) -> None:
    for figures in (FIGURES, None):
        shown = view(runs=runs(rows_that_fit(height), number=100_000), figures=figures, why_none="no figures: x" * 20)
        lines = drawn(shown, width, height)
        assert max(map(len, lines)) <= width
        assert len(lines) <= max(height, 6)


def test_what_is_more_than_fits_is_told() -> None:
    lines = drawn(view(runs=runs(21, number=100_000, dropped=True), skipped=41))
    assert lines[1].startswith("runs     more than 100,000 not ended")
    assert lines[-1].endswith(" 42 to 55")
    assert "arrows scroll" in lines[-1]
    lines = drawn(view(runs=runs(0, complete=False), filtered=True, note="reconnected"))
    assert lines[1].startswith("runs     0 match   more are on their way")
    assert lines[-1].startswith("reconnected   q quit")


def test_a_picture_that_is_printed_is_as_long_as_it_has_runs() -> None:
    lines = drawn(view(runs=runs(40), live=False), height=10)
    assert len(lines) == 9 + 40
