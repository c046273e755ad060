"""A run and the runs inside it: in which order, with which lines before them, and how many."""

import json
from dataclasses import replace

import pytest

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from gateway.cli.tree import rows_of
from gateway.client import ItemStatistics, RunState, RunStatus
from tests.support.held_gateway import HeldGateway


def status(name: str, parent: str | None = None) -> RunStatus:
    return RunStatus(
        run_id=name,
        flow_id="f",
        status=RunState.RUNNING,
        items=ItemStatistics(total=1),
        created_at_ns=0,
        parent_run_id=parent,
    )


def test_each_run_comes_after_its_parent_with_lines_that_lead_to_it() -> None:
    inner = [status("b", "a"), status("c", "a"), status("d", "b"), status("e", "b")]
    drawn = [f"{branch}{row.run_id}" for branch, row in rows_of(status("a"), inner)]
    assert drawn == ["a", "├─ b", "│  ├─ d", "│  └─ e", "└─ c"]


def test_runs_whose_parent_was_deleted_are_inside_the_outermost() -> None:
    inner = [status("b", "a"), status("c", "gone"), status("d", "c")]
    drawn = [f"{branch}{row.run_id}" for branch, row in rows_of(status("a"), inner)]
    assert drawn == ["a", "├─ b", "└─ c", "   └─ d"]
    below = replace(status("b", "a"), root_run_id="a")
    assert [row.run_id for _, row in rows_of(below, inner)] == ["b"]


def test_runs_may_nest_deeper_than_calls() -> None:
    depth = 3_000
    inner = [status(str(number), str(number - 1)) for number in range(1, depth)]
    assert [row.run_id for _, row in rows_of(status("0"), inner)] == list(map(str, range(depth)))


def test_a_tree_begins_at_the_run_that_is_named(held: HeldGateway, capsys: pytest.CaptureFixture[str]) -> None:
    top = held.submit_held()
    first, second = held.submit_inside(top), held.submit_inside(top)
    below = held.submit_inside(first)
    held.submit_held()

    def shown(*arguments: str) -> list[str]:
        assert run(["tree", *arguments]) == ExitCode.OK
        return [json.loads(line)["runId"] for line in capsys.readouterr().out.splitlines()]

    assert shown(top) == [top, first, below, second]
    assert shown(first, "--json") == [first, below]
    assert shown(below) == [below]
    assert run(["tree", top, "--limit", "1"]) == ExitCode.OK
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2
    assert printed.err.startswith("the outermost run has more than 1 run inside it")


def test_a_run_that_is_not_there(held: HeldGateway) -> None:
    assert run(["tree", "00000000-0000-4000-8000-000000000000"]) == ExitCode.NOT_FOUND
