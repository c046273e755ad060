"""Runs that are listed: which, how many, and as what."""

import json

import pytest

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from tests.support.held_gateway import HeldGateway


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The ids of runs that `list` prints."""
    assert run(["list", *arguments]) == ExitCode.OK
    return [json.loads(line)["runId"] for line in capsys.readouterr().out.splitlines()]


def test_runs_are_lines_of_json_and_the_newest_is_first(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [held.client.submit_and_wait(held.echo, [1]).run_id for _ in range(3)]
    assert listed(capsys) == runs[::-1]
    assert listed(capsys, "--order", "oldest-first", "--json") == runs


def test_flags_choose_runs(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    done = held.client.submit_and_wait(held.echo, [1], labels={"team": "a"}, flow_label="nightly").run_id
    running = held.submit_held(labels={"team": "a", "n": "1"})
    inside = held.submit_inside(running)
    for flags, runs in {
        ("--state", "running"): [inside, running],
        ("--state", "success", "--state", "running"): [inside, running, done],
        ("--label", "team=a"): [running, done],
        ("--label", "team=a", "--label", "n=1"): [running],
        ("--flow", "echo"): [done],
        ("--flow", "he*"): [inside, running],
        ("--flow", held.echo): [done],
        ("--flow-label", "night*"): [done],
        ("--since", "1h"): [inside, running, done],
        ("--until", "1h"): [],
        ("--roots",): [running, done],
        ("--parent", running): [inside],
        ("--root", running): [inside],
    }.items():
        assert listed(capsys, *flags) == runs, flags


def test_a_list_says_that_there_is_more(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [held.client.submit_and_wait(held.echo, [1]).run_id for _ in range(3)]
    assert run(["list", "--limit", "2"]) == ExitCode.OK
    printed = capsys.readouterr()
    assert [json.loads(line)["runId"] for line in printed.out.splitlines()] == runs[:0:-1]
    assert printed.err == "there are more than these 2 runs: --limit 0 lists all\n"
    for limit in ("3", "0"):
        assert run(["list", "--limit", limit]) == ExitCode.OK
        printed = capsys.readouterr()
        assert (len(printed.out.splitlines()), printed.err) == (3, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--limit", "-1"],
        ["--limit", "1.5"],
        ["--state", "asleep"],
        ["--label", "team"],
        ["--parent", "nonsense"],
        ["--flow", "a*b"],
        ["--follow", "--limit", "3"],
        ["--follow", "--order", "oldest-first"],
    ],
)
def test_flags_that_are_not_valid(arguments: list[str], held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", *arguments]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert (printed.out, printed.err.startswith("error: ")) == ("", True)
