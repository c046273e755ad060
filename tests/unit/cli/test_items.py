"""The items of a run: as lines for people, and as JSON."""

import json

import pytest
from rich.console import Console

from gateway.cli.errors import ExitCode
from gateway.cli.items import print_item
from gateway.cli.program import run
from gateway.client import Item, ItemError, ItemResult, RunState, StepState, StepStatus
from tests.support.held_gateway import HeldGateway


def test_an_item_and_its_steps_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    error = ItemError(-32100, "too\x1b[2J few")
    item = Item(
        3,
        RunState.FAILED,
        input_json='{"n": 1}',
        result=ItemResult(3, RunState.FAILED, error=error),
        attempts=2,
        steps=[
            StepStatus("a", "/c", StepState.SUCCESS, 1),
            StepStatus("b/0/c", "/c", StepState.FAILED, 3, error=error),
        ],
    )
    print_item(Console(highlight=False), item)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["3", "failed", "begun", "2", "times", "too\N{REPLACEMENT CHARACTER}[2J", "few", "(-32100)"],
        ["input", '{"n":', "1}"],
        ["success", "a", "/c"],
        ["failed", "b/0/c", "/c", "tried", "3", "times", "too\N{REPLACEMENT CHARACTER}[2J", "few", "(-32100)"],
    ]


def test_items_tell_what_executes_and_what_came_of_them(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = held.submit_held()
    assert run(["items", run_id, "--inputs"]) == ExitCode.OK
    items = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(item["itemIndex"], item["input"]) for item in items] == [(0, 1), (1, 2)]
    assert {item["status"] for item in items} <= {"pending", "running"}
    held.let_through()
    held.client.wait(run_id)
    assert run(["items", run_id]) == ExitCode.OK
    items = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["result"]["result"]["value"] for item in items] == [1, 2]


def test_items_are_chosen_by_state_and_number(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    flow = held.client.put_flow({"steps": [], "output": {"$input": "m"}})
    run_id = held.client.submit_and_wait(flow, [{"m": 1}, {}, {}, {"m": 2}]).run_id

    def shown(*arguments: str) -> list[int]:
        assert run(["items", run_id, *arguments]) == ExitCode.OK
        return [json.loads(line)["itemIndex"] for line in capsys.readouterr().out.splitlines()]

    assert shown("--failed") == shown("--state", "failed") == [1, 2]
    assert shown("--state", "success", "--state", "failed") == [0, 1, 2, 3]
    assert run(["items", run_id, "--limit", "3"]) == ExitCode.OK
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3
    assert printed.err == "there are more than these 3 items: --limit 0 lists all\n"
    assert run(["items", run_id, "--failed", "--state", "success"]) == ExitCode.USAGE


def test_a_run_that_is_not_there(held: HeldGateway) -> None:
    assert run(["items", "00000000-0000-4000-8000-000000000000"]) == ExitCode.NOT_FOUND
    assert run(["items", "nonsense"]) == ExitCode.USAGE
