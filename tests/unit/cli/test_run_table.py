"""Runs as rows: in every width a line for each, without what could steer a terminal."""

import time

import pytest
from rich.console import Console

from gateway.cli.run_table import RunTable, labels_text, short_duration
from gateway.client import ItemStatistics, RunState, RunStatus

SECOND = 10**9
RUN = "00000000-0000-4000-8000-00000000000a"


def status(**fields: object) -> RunStatus:
    given = {
        "run_id": RUN,
        "flow_id": f"sha256:{'a' * 64}",
        "status": RunState.RUNNING,
        "items": ItemStatistics(total=10, success=2, failed=1, running=7),
        "created_at_ns": time.time_ns() - 7_200 * SECOND,
        **fields,
    }
    return RunStatus(**given)  # type: ignore[arg-type]


def lines(width: int, *runs: RunStatus, heading: bool = True) -> list[str]:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(RunTable(console).of(runs, heading=heading))
    return capture.get().splitlines()


def test_a_row_tells_what_a_run_is() -> None:
    run = status(flow_name="report", flow_label="nightly", labels={"b": "2", "a": "1"})
    heading, row = lines(140, run)
    assert heading.split() == ["RUN", "STATE", "ITEMS", "AGE", "TOOK", "FLOW", "LABELS"]
    assert row.split() == [RUN, "running", "3/10", "2h", "report", "nightly", "a=1", "b=2"]


def test_the_time_that_a_run_took_counts_from_its_start() -> None:
    now = time.time_ns()
    run = status(created_at_ns=now, started_at_ns=now + SECOND, completed_at_ns=now + 46 * SECOND)
    assert lines(140, run)[1].split()[4] == "45s"


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (18, ["RUN"]),
        (20, ["RUN", "STATE"]),
        (30, ["RUN", "STATE"]),
        (46, ["RUN", "STATE"]),
        (50, ["RUN", "STATE"]),
        (80, ["RUN", "STATE", "ITEMS", "AGE", "FLOW"]),
        (100, ["RUN", "STATE", "ITEMS", "AGE", "TOOK", "FLOW", "LABELS"]),
        (200, ["RUN", "STATE", "ITEMS", "AGE", "TOOK", "FLOW", "LABELS"]),
    ],
)
def test_a_narrow_terminal_shows_what_matters_most(width: int, columns: list[str]) -> None:
    run = status(flow_name="\x1b[2J" + "long " * 100, labels={"a": "\n" * 300})
    heading, row = lines(width, run)
    assert heading.split() == columns
    assert len(row) <= width
    assert "\x1b[2J" not in row
    if width > len(RUN) + len("STATE") + len("failed"):
        assert RUN in row
    else:
        assert row.startswith(RUN[:8])
    assert ("running" in row.split()) == ("STATE" in columns)


def test_pages_have_columns_of_the_same_width() -> None:
    [first] = lines(120, status(flow_name="f", labels={"l": "1"}), heading=False)
    [second] = lines(120, status(flow_name="a much longer name of a flow", labels={"l": "1"}), heading=False)
    assert first.index("l=1") == second.index("l=1")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7_199, "119m"),
        (7_200, "2h"),
        (172_800, "2d"),
        (10**8, "1157d"),
    ],
)
def test_durations_are_short(seconds: int, text: str) -> None:
    assert short_duration(seconds * SECOND) == text


def test_a_run_without_labels_has_none() -> None:
    assert labels_text(status()) == ""
