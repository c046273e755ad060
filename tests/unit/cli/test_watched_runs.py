"""The runs that `watch` waits for: when that ends, with which code, and what is shown."""

from rich.console import Console

from gateway.cli.errors import ExitCode
from gateway.cli.watched_runs import KEPT, WatchedRuns
from gateway.client import ItemStatistics, RunState, RunStatus


def status(number: int, state: RunState = RunState.RUNNING) -> RunStatus:
    return RunStatus(f"run-{number}", "f", state, ItemStatistics(total=2, success=1), created_at_ns=number)


def drawn(watched: WatchedRuns, height: int = 24) -> list[str]:
    console = Console(width=100, height=height, no_color=True)
    with console.capture() as capture:
        console.print(watched)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_it_ends_when_no_run_goes_on_with_the_code_of_the_worst() -> None:
    watched = WatchedRuns()
    assert (watched.none, watched.all_ended, watched.exit_code()) == (True, True, ExitCode.OK)
    watched.add(status(1))
    watched.add(status(2))
    assert (watched.none, watched.all_ended) == (False, False)
    watched.add(status(1, RunState.SUCCESS))
    watched.leave_out("run-2")
    assert (watched.all_ended, watched.exit_code()) == (True, ExitCode.OK)
    watched.add(status(3, RunState.CANCELLED))
    assert watched.exit_code() is ExitCode.RUN_FAILED
    watched.leave_out("run-4", ExitCode.NOT_FOUND)
    watched.leave_out("run-5", ExitCode.ERROR)
    assert watched.exit_code() is ExitCode.NOT_FOUND


def test_a_set_that_begins_anew_forgets_how_runs_ended() -> None:
    watched = WatchedRuns()
    watched.add(status(1, RunState.FAILED))
    watched.begin_anew()
    assert (watched.none, watched.exit_code()) == (True, ExitCode.OK)


def test_all_runs_are_shown_in_their_order_if_they_fit() -> None:
    watched = WatchedRuns()
    for number in range(3):
        watched.add(status(number))
    watched.add(status(0, RunState.FAILED))
    lines = drawn(watched)
    assert [line.split()[0] for line in lines[1:-1]] == ["run-0", "run-1", "run-2"]
    assert lines[1].split()[1] == "failed"
    assert lines[-1] == "3 runs: 2 running, 1 failed"


def test_of_many_runs_those_that_go_on_are_shown() -> None:
    watched = WatchedRuns()
    for number in range(3 * KEPT):
        watched.add(status(number, RunState.SUCCESS))
    watched.add(status(9_999))
    lines = drawn(watched, height=6)
    assert [line.split()[0] for line in lines[1:-1]] == ["run-9999", "run-2999", "run-2998"]
    assert lines[-1] == f"{3 * KEPT + 1:,} runs: 1 running, {3 * KEPT:,} success"
    assert len(watched._shown) < 3 * KEPT
