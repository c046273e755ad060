"""The items of a run: as lines for people, and as JSON."""

import pytest
from rich.console import Console

from gateway.cli.items import print_item
from gateway.client import Item, ItemError, ItemResult, RunState, StepState, StepStatus


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
