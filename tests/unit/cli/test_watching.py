"""`watch` with one run, with several, and with those that flags choose."""

import json

import pytest
import yaml

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from tests.support.held_gateway import HeldGateway

MISSING = "00000000-0000-0000-0000-000000000000"


def last_states(out: str) -> dict[str, str]:
    """The last state of each run that was printed."""
    return {status["runId"]: status["status"] for status in map(json.loads, out.splitlines())}


def test_several_runs_are_followed_until_all_have_ended(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [held.submit_held() for _ in range(2)]
    ended = held.client.submit_and_wait(held.echo, [1]).run_id
    held.let_through()
    assert run(["watch", *runs, ended, runs[0]]) == ExitCode.OK
    printed = capsys.readouterr()
    assert (last_states(printed.out), printed.err) == (dict.fromkeys([*runs, ended], "success"), "")


def test_the_exit_code_is_that_of_the_worst(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    good = held.client.submit_and_wait(held.echo, [1]).run_id
    bad = held.submit_held()
    held.client.cancel(bad)
    assert run(["watch", good, bad]) == ExitCode.RUN_FAILED
    assert last_states(capsys.readouterr().out) == {good: "success", bad: "cancelled"}
    for ids in ([good, bad, MISSING], [MISSING, good]):
        assert run(["watch", *ids]) == ExitCode.NOT_FOUND
        printed = capsys.readouterr()
        assert MISSING not in printed.out
        assert (printed.err.count(MISSING), printed.err.count("\n")) == (1, 1)
    assert run(["watch", good, "nonsense"]) == ExitCode.USAGE


def test_a_set_is_followed_until_all_of_it_has_ended(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"batch": "7"}
    runs = [held.submit_held(labels=labels), held.client.submit_and_wait(held.echo, [1], labels=labels).run_id]
    other = held.submit_held()
    held.let_through()
    assert run(["watch", "--label", "batch=7"]) == ExitCode.OK
    printed = capsys.readouterr()
    assert last_states(printed.out) == dict.fromkeys(runs, "success")
    assert other not in printed.out
    held.client.wait(other)
    assert run(["watch", "--roots", "--output", "yaml"]) == ExitCode.OK
    assert {each["runId"] for each in yaml.safe_load_all(capsys.readouterr().out)} == {*runs, other}


def test_runs_that_leave_the_set_since_they_end_count(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = held.submit_held()
    failed = held.submit_held()
    held.client.cancel(failed)
    held.let_through()
    code = run(["watch", "--state", "running", "--state", "pending"])
    states = last_states(capsys.readouterr().out)
    assert (code, states) in [(ExitCode.OK, {run_id: "success"}), (ExitCode.OK, {})]
    assert run(["watch", "--flow", "held"]) == ExitCode.RUN_FAILED


def test_no_match_is_a_success_that_says_so(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", "--label", "batch=8"]) == ExitCode.OK
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "no run matches: there is nothing to wait for\n")


def test_a_table_is_drawn_once_where_there_is_no_terminal(
    held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [held.client.submit_and_wait(held.echo, [1]).run_id for _ in range(2)]
    assert run(["watch", *runs, "--output", "table"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == runs
    assert lines[-1].strip() == "2 runs: 2 success"


@pytest.mark.parametrize("arguments", [[], [MISSING, "--state", "running"], ["--label", "x"], ["--flow", "a*b"]])
def test_what_is_wrong_is_said_in_a_line(
    arguments: list[str], held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["watch", *arguments]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n"), printed.err[:7]) == ("", 1, "error: ")


@pytest.mark.parametrize("arguments", [[MISSING, MISSING[:-1] + "1"], ["--roots"]])
def test_a_gateway_that_is_away_is_told_at_once(
    arguments: list[str], held: HeldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["watch", *arguments, "--address", "127.0.0.1:1"]) == ExitCode.UNAVAILABLE
    assert capsys.readouterr().err.count("\n") == 1
