"""Runs that are cancelled and deleted, by their ids and by flags: what is printed, and how the command ends."""

import json

import pytest

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from gateway.client import RunNotEnded, RunNotFound, RunsClient, RunState
from tests.support.held_gateway import HeldGateway

MISSING_RUN = "00000000-0000-4000-8000-000000000000"


def test_a_run_is_cancelled_by_its_id(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = held.submit_held()
    assert run(["cancel", run_id, "--reason", "late"]) == ExitCode.OK
    assert capsys.readouterr() == (f"{run_id}  cancelled\n", "")
    assert run(["cancel", run_id, "--reason", "again", "--json"]) == ExitCode.OK
    status = json.loads(capsys.readouterr().out)
    assert (status["status"], status["cancelReason"], status["items"]["cancelled"]) == ("cancelled", "late", 2)
    assert run(["get", run_id]) == ExitCode.OK
    assert "reason     late" in capsys.readouterr().out.splitlines()


def test_a_run_that_has_ended_stays_as_it_was(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = held.client.submit_and_wait(held.echo, [1]).run_id
    assert run(["cancel", run_id, "--wait"]) == ExitCode.OK
    assert capsys.readouterr().out == f"{run_id}  success\n"


def test_one_run_of_several_that_is_not_there_leaves_the_others(
    held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = held.submit_held(), held.submit_held()
    assert run(["cancel", first, MISSING_RUN, "nonsense", last]) == ExitCode.NOT_FOUND
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [f"{first}  cancelled", f"{last}  cancelled"]
    lines = printed.err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert MISSING_RUN in lines[0]
    assert "nonsense" in lines[1]


def test_a_delete_of_a_run_that_has_not_ended_names_the_flag(
    held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = held.submit_held(), held.submit_held()
    for runs in ([first], [first, second]):
        assert run(["delete", *runs]) == ExitCode.ERROR
        lines = capsys.readouterr().err.splitlines()
        assert [(run_id in line, "--cancel" in line) for run_id, line in zip(runs, lines, strict=True)] == [
            (True, True) for _ in runs
        ]
    assert run(["delete", first, second, "--cancel"]) == ExitCode.OK


def test_runs_that_match_are_cancelled_and_no_others(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = [held.submit_held(labels={"team": "a", "n": str(number)}) for number in range(3)]
    other = held.submit_held(labels={"team": "b"})
    held.client.submit_and_wait(held.echo, [1], labels={"team": "a"})
    assert run(["cancel", "--label", "team=a", "--yes", "--reason", "end"]) == ExitCode.OK
    assert capsys.readouterr() == ("cancelled 3 runs\n", "")
    assert {held.client.get(run_id).status for run_id in wanted} == {RunState.CANCELLED}
    assert not held.client.get(other).finished
    assert run(["cancel", "--label", "team=a", "--yes", "--json"]) == ExitCode.OK
    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last) == {"matched": 0, "cancelled": 0, "unchanged": 0}


def test_what_would_be_cancelled_is_shown_before(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = held.submit_held()
    assert run(["cancel", "--all"]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[:2] == ["would cancel 1 run:", f"  {run_id}  running    held"]
    assert "--yes" in printed.err
    assert not held.client.get(run_id).finished


@pytest.mark.parametrize(
    "arguments",
    [
        ["cancel"],
        ["delete"],
        ["cancel", MISSING_RUN, "--all"],
        ["cancel", "--all", "--roots"],
        ["delete", MISSING_RUN, "--state", "failed"],
        ["cancel", "--all", "--wait", "--yes"],
        ["cancel", "--all", "--timeout", "1", "--yes"],
        ["cancel", "--since", "yesterday", "--yes"],
        ["cancel", "--root", "nonsense", "--yes"],
        ["cancel", MISSING_RUN, "--reason", "x" * 1_001],
    ],
)
def test_a_slip_ends_nothing(arguments: list[str], held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = held.submit_held()
    assert run(arguments) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: ")
    assert not held.client.get(run_id).finished


def test_a_delete_with_the_flag_tells_what_the_gateway_does(
    held: HeldGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(client: RunsClient, run_id: str, *, cancel: bool) -> None:
        raise RunNotEnded("it is cancelled, but has not ended yet")

    monkeypatch.setattr(RunsClient, "delete", delete)
    assert run(["delete", MISSING_RUN, "--cancel"]) == ExitCode.ERROR
    error = capsys.readouterr().err
    assert "it is cancelled, but has not ended yet" in error
    assert "--cancel" not in error


def test_a_run_is_deleted_by_its_id(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    ended = held.client.submit_and_wait(held.echo, [1]).run_id
    running = held.submit_held()
    assert run(["delete", ended]) == ExitCode.OK
    assert capsys.readouterr() == (f"{ended}  deleted\n", "")
    assert run(["delete", ended]) == ExitCode.NOT_FOUND
    assert run(["delete", running]) == ExitCode.ERROR
    capsys.readouterr()
    assert run(["delete", running, "--cancel", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"runId": running}
    for run_id in (ended, running):
        with pytest.raises(RunNotFound):
            held.client.get(run_id)


def test_runs_that_have_ended_are_deleted_unless_more_is_said(
    held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        held.client.submit_and_wait(held.echo, [1])
    running = held.submit_held()
    assert run(["delete", "--all", "--yes"]) == ExitCode.OK
    assert capsys.readouterr().out == "deleted 3 runs\n"
    assert [each.run_id for each in held.client.runs()] == [running]
    assert run(["delete", "--flow", "held", "--cancel", "--yes"]) == ExitCode.OK
    assert capsys.readouterr().out == "deleted 1 run\n"
    assert list(held.client.runs()) == []
