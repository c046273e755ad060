"""Sums over runs, against the runs themselves."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.runtimes.temporal import known_runs
from gateway.runtimes.temporal.known_runs import (
    CLOSED_MS,
    KEPT_MS,
    MODULUS,
    KnownRuns,
    NotedRun,
    bucket_of,
    noted,
    noted_as_deleted,
)
from gateway.runtimes.temporal.set_point import BUCKETS
from gateway.runtimes.temporal.visibility_query import MILLISECOND

ITEMS = ItemStatistics(total=1, pending=1, running=0, success=0, failed=0, cancelled=0)


def run(name: str, ended_at: int | None = None, revision: int = 0, *, inside: bool = True) -> NotedRun:
    """A run that has ended at a millisecond, or not."""
    ended = None if ended_at is None else ended_at * MILLISECOND
    state = RunState.RUNNING if ended is None else RunState.SUCCESS
    status = RunStatus(run_id=name, flow_id="f", status=state, items=ITEMS, created_at=1, completed_at=ended)
    return noted(status, revision, inside=inside)


def advance(known: KnownRuns, since: int) -> None:
    for _ in known.advance(since):
        check(known)


def check(known: KnownRuns) -> None:
    """Compare the sums with what is counted."""
    sums = [0] * BUCKETS
    for bucket in range(BUCKETS):
        for each in known.bucket(bucket):
            assert bucket_of(each.run_id) == bucket
            sums[bucket] += each.mark if each.counts(known.since) else 0
    assert known.sums == [total % MODULUS for total in sums]


NAMES = st.sampled_from([f"run-{number}" for number in range(12)])
STEPS = st.one_of(
    st.tuples(st.just("note"), st.builds(run, NAMES, st.none() | st.integers(0, 400_000), st.integers(0, 3))),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("advance"), st.integers(0, 400_000)),
)


@given(st.lists(STEPS, max_size=30), st.integers(0, 1_000))
def test_sums_are_those_of_the_runs_that_may_have_changed(steps: list[Any], begin: int) -> None:
    known = KnownRuns()
    known.begin(begin)
    for act, what in steps:
        if act == "note":
            known.note(what)
            assert known.get(what.run_id) == what
        elif act == "remove":
            known.remove(what)
            assert known.get(what) is None
        else:
            advance(known, what)
        check(known)


def test_a_run_that_has_ended_is_forgotten_in_time() -> None:
    known = KnownRuns()
    known.begin(0)
    known.note(run("ended", 1_000))
    known.note(run("open"))
    advance(known, 1_000 + KEPT_MS)
    assert known.get("ended") is not None
    assert known.covers == 0
    advance(known, 1_001 + KEPT_MS)
    assert known.get("ended") is None
    assert known.get("open") is not None
    assert known.covers == 1_001 + CLOSED_MS


def test_of_very_many_runs_the_last_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_runs, "MOST_KEPT", 2)
    known = KnownRuns()
    known.begin(0)
    for number in range(5):
        known.note(run(f"run-{number}", number))
    advance(known, 10)
    assert [known.get(f"run-{number}") is None for number in range(5)] == [True] * 3 + [False] * 2
    assert known.covers == 2 + CLOSED_MS + 1


def test_states_and_deleted_runs_have_marks_of_their_own() -> None:
    marks = {
        run("a").mark,
        run("b").mark,
        run("a", revision=1).mark,
        run("a", inside=False).mark,
        run("a", 1).mark,
        noted_as_deleted("a", 1, 5).mark,
    }
    assert len(marks) == 6
