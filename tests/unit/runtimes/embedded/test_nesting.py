"""Which task a run belongs to, and what its family may have."""

import uuid

import pytest

from gateway.core.errors import NestedTooDeeply, TooManyDescendants
from gateway.core.model import ObservabilityContext
from gateway.runtimes.embedded.nesting import Ancestry, Nesting, ParentTask, parent_task
from gateway.runtimes.embedded.task import Task

RUN = str(uuid.uuid4())
OTHER = str(uuid.uuid4())


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
    task = Task(RUN, "flow", 2, path)
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
    child = Ancestry("root", 1, "task")
    nesting.take(child, 7)
    nesting.take(Ancestry("other", 5, "task"), 10)
    with pytest.raises(TooManyDescendants) as refused:
        nesting.take(child, 4)
    assert refused.value.message == (
        "task: all runs nested in run root have at most 10 items at a time (max_descendants)"
    )
    assert nesting.live("root") == 7
    nesting.take(child, 3)
    nesting.give_back("root", 7)
    assert nesting.live("root") == 3
    nesting.give_back("root", 3)
    assert nesting.live("root") == 0


def test_what_was_accepted_before_counts_beyond_the_bound() -> None:
    nesting = Nesting(max_descendants=2)
    nesting.add("root", 5)
    with pytest.raises(TooManyDescendants):
        nesting.take(Ancestry("root", 1, "task"), 1)
    assert nesting.live("root") == 5
