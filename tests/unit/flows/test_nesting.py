"""Which task a run belongs to, and what its family may have."""

import pytest
from msgspec.structs import replace

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import NestedTooDeeply, Overloaded, TooManyDescendants
from gateway.core.model import ObservabilityContext
from gateway.flows.item_work import DEFAULT_CONCURRENCY
from gateway.flows.nesting import (
    INPUT_BYTES,
    ITEM_BYTES,
    RUN_BYTES,
    Ancestry,
    Nesting,
    ParentTask,
    memory_of,
    parent_task,
)
from gateway.flows.run_record import RunRecord
from gateway.flows.task import Task
from tests.support.item_work import ALONE

RUN = "337d39bf-92b0-44d2-a37c-c60a14f760ca"
OTHER = "84407fd3-ed0a-4802-b1cf-16979dfd365d"


@pytest.mark.parametrize(
    ("path", "loops", "name"),
    [
        (("s",), 0, f"{RUN}/2/s"),
        (("a/b",), 0, f"{RUN}/2/a/b"),
        (("s", 0, "t"), 1, f"{RUN}/2/s/0/t"),
        (("s", 7, "t", 0, "u"), 2, f"{RUN}/2/s/7/t/0/u"),
    ],
)
def test_the_scope_of_a_task_names_it_whatever_the_trace_claims(
    path: tuple[str | int, ...], loops: int, name: str
) -> None:
    task = Task(RUN, "flow", 2, ALONE, path)
    claim = ObservabilityContext(run_id=OTHER, span_id="s", step_id="s")
    assert parent_task(task.scope, claim) == ParentTask(RUN, loops, name)
    assert task.loops == loops


@pytest.mark.parametrize("scope", ["", f'["{RUN}","s","7"]'])
def test_without_a_task_the_trace_names_the_run(scope: str) -> None:
    trace = ObservabilityContext(run_id=RUN.upper(), span_id="7", step_id="s")
    assert parent_task(scope, trace) == ParentTask(RUN, 0, f"{RUN}/s")
    assert parent_task(scope, ObservabilityContext(run_id=RUN)) == ParentTask(RUN, 0, RUN)


@pytest.mark.parametrize("trace", [None, ObservabilityContext(trace_id="1"), ObservabilityContext(run_id="no run")])
def test_other_callers_are_in_no_run(trace: ObservabilityContext | None) -> None:
    assert parent_task("", trace) is None


def test_depth_is_bounded() -> None:
    nesting = Nesting(max_depth=2)
    nesting.refuse_deeper(2, "task")
    with pytest.raises(NestedTooDeeply) as refused:
        nesting.refuse_deeper(3, "task")
    assert refused.value.message == "task: runs nest at most 2 deep (max_depth)"


def test_each_root_has_a_number_of_items_that_becomes_free_at_the_end_of_runs() -> None:
    nesting = Nesting(max_descendants=10)
    child = Ancestry("root", "parent", 1, "task")
    nesting.take(child, 7, 1)
    nesting.take(Ancestry("other", "parent", 5, "task"), 10, 1)
    with pytest.raises(TooManyDescendants) as refused:
        nesting.take(child, 4, 1)
    assert refused.value.message == (
        "task: all runs nested in run root have at most 10 items at a time (max_descendants)"
    )
    assert nesting.live("root") == 7
    nesting.take(child, 3, 1)
    nesting.give_back("root", 7, 1)
    assert nesting.live("root") == 3
    nesting.give_back("root", 3, 1)
    assert nesting.live("root") == 0


def test_what_was_accepted_before_counts_beyond_the_bound() -> None:
    nesting = Nesting(max_descendants=2)
    nesting.add("root", 5)
    with pytest.raises(TooManyDescendants):
        nesting.take(Ancestry("root", "parent", 1, "task"), 1, 0)
    assert nesting.live("root") == 5


def test_the_descendants_of_a_root_have_one_share_of_the_memory() -> None:
    account = MemoryAccount(1 << 20)
    nesting = Nesting(account=account)
    one, two = Ancestry("one", "parent", 1, "task"), Ancestry("two", "parent", 1, "task")
    while account.held < 400_000:
        nesting.take(one, 1, 100_000)
    with pytest.raises(Overloaded) as refused:
        nesting.take(one, 1, 100_000)
    assert refused.value.message == "task: the server has no memory left for a run inside another one"
    assert (nesting.live("one"), account.held) == (4, 400_000)
    nesting.take(two, 1, 100_000)
    nesting.add("before", 1)
    assert nesting.hold("before", 100_000) == 100_000
    assert nesting.hold("before", 1_000_000) == 0
    nesting.give_back("one", 4, 400_000)
    nesting.give_back("two", 1, 100_000)
    nesting.give_back("before", 1, 100_000)
    assert account.held == 0


def test_a_run_takes_memory_for_the_items_that_execute_at_once_and_for_all_inputs() -> None:
    record = RunRecord(RUN, "flow", None, None, 1_000, None, None, "{}", None, "", None, "", 7)
    assert memory_of(record) == RUN_BYTES + DEFAULT_CONCURRENCY * ITEM_BYTES
    assert memory_of(replace(record, max_concurrency=2)) == RUN_BYTES + 2 * ITEM_BYTES
    assert memory_of(replace(record, total=1), ["12345"]) == RUN_BYTES + ITEM_BYTES + INPUT_BYTES + 5
