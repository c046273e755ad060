"""The table that follows a set: what it shows of the events, and how much of a large set it keeps."""

from rich.console import Console

from gateway.cli.live_runs import KEPT, LiveRuns
from gateway.client import CaughtUp, ItemStatistics, RunState, RunStatus, SetEvent, SetUpdate


def update(number: int, event: SetEvent = SetEvent.ADDED, *, restarted: bool = False) -> SetUpdate:
    run = RunStatus(
        run_id=f"run-{number:06}",
        flow_id="f",
        status=RunState.RUNNING,
        items=ItemStatistics(total=1, running=1),
        created_at_ns=number,
    )
    return SetUpdate(event, run.run_id, run, 1, b"t", restarted)


def drawn(shown: LiveRuns, height: int = 24) -> list[str]:
    console = Console(width=100, height=height, no_color=True)
    with console.capture() as capture:
        console.print(shown)
    return [line.rstrip() for line in capture.get().splitlines()]


def names(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines[1:-1]]


def test_the_newest_run_is_first_and_runs_that_left_are_gone() -> None:
    shown = LiveRuns()
    for number in (1, 3, 2):
        shown.add(update(number))
    assert drawn(shown)[-1] == "3 runs, and more are on their way"
    shown.add(CaughtUp(b"t"))
    lines = drawn(shown)
    assert names(lines) == ["run-000003", "run-000002", "run-000001"]
    assert lines[-1] == "3 runs"
    for number in (3, 1):
        shown.add(update(number, SetEvent.LEFT))
    lines = drawn(shown)
    assert (names(lines), lines[-1]) == (["run-000002"], "1 run")


def test_as_many_runs_are_shown_as_fit() -> None:
    shown = LiveRuns()
    for number in range(30):
        shown.add(update(number))
    shown.add(CaughtUp(b"t"))
    lines = drawn(shown, height=10)
    assert len(lines) < 10
    assert lines[1].startswith("run-000029")
    assert lines[-1] == "30 runs, the newest 7 shown"


def test_a_set_that_begins_anew_is_shown_anew() -> None:
    shown = LiveRuns()
    shown.add(update(1))
    shown.add(CaughtUp(b"t"))
    shown.add(update(2, restarted=True))
    lines = drawn(shown)
    assert (names(lines), lines[-1]) == (["run-000002"], "1 run, and more are on their way")


def test_of_a_large_set_the_newest_runs_are_kept() -> None:
    shown = LiveRuns()
    for number in range(2 * KEPT + 1):
        shown.add(update(number))
    shown.add(CaughtUp(b"t"))
    lines = drawn(shown)
    assert lines[1].startswith(f"run-{2 * KEPT:06}")
    assert lines[-1] == f"more than {KEPT:,} runs, the newest 21 shown"
