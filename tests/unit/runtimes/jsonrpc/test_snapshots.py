"""Revisions grow with every change, and are about the same in every gateway."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.errors import RemoteError
from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.core.runtime import Snapshot
from gateway.runtimes.jsonrpc.answers import Event
from gateway.runtimes.jsonrpc.snapshots import canonical, caught_up, read_state, read_status, snapshot_of, successor

RUN = "11111111-2222-4333-8444-aaaaaaaaaaaa"
DIGEST = "ab" * 32


def status(total: int, running: int = 0, success: int = 0, failed: int = 0, state: RunState | None = None) -> RunStatus:
    finished = success + failed
    if state is None:
        state = RunState.SUCCESS if finished == total else RunState.RUNNING if running or finished else RunState.PENDING
    pending = total - running - finished
    items = ItemStatistics(total=total, pending=pending, running=running, success=success, failed=failed)
    return RunStatus(run_id=RUN, flow_id=f"sha256:{DIGEST}", status=state, items=items, created_at=0)


@given(st.integers(1, 12), st.data())
def test_revisions_grow_as_items_go_on(total: int, data: st.DataObject) -> None:
    steps = data.draw(st.permutations(range(total)))
    statuses = [status(total)]
    running = finished = 0
    for _ in steps:
        running += 1
        statuses.append(status(total, running, finished))
        if data.draw(st.booleans()) or running + finished == total:
            running, finished = running - 1, finished + 1
            statuses.append(status(total, running, finished))
    while finished < total:
        running, finished = running - 1, finished + 1
        statuses.append(status(total, running, finished))
    revisions = [snapshot_of(status, 0).revision for status in statuses]
    assert revisions == sorted(set(revisions))


def test_the_terminal_state_is_above_all() -> None:
    counts = [
        (running, finished) for running, finished in itertools.product(range(5), repeat=2) if running + finished < 5
    ]
    everything = [snapshot_of(status(4, *both, state=RunState.RUNNING), 0) for both in counts]
    last = snapshot_of(status(4, state=RunState.CANCELLED), 0)
    assert all(snapshot.revision < last.revision for snapshot in everything)
    assert (last.prefix, last.completions) == (4, 0)


def test_a_successor_tells_something_new() -> None:
    first = snapshot_of(status(4, running=2, success=1), 0)
    assert successor(None, first) is first
    assert successor(first, first) is None
    known = replace(first, prefix=1)
    assert successor(first, known) == replace(known, revision=first.revision + 1)
    executes_again = snapshot_of(status(4, running=1, success=1), 0)
    again = successor(first, executes_again)
    assert again is not None
    assert again.revision == first.revision + 1
    finished = snapshot_of(status(4, running=0, success=2), 0)
    assert successor(again, finished) is finished
    assert successor(finished, first) is None
    ended = snapshot_of(status(4, failed=4, state=RunState.FAILED), 0)
    assert successor(finished, ended) == ended


def test_ids_are_made_canonical() -> None:
    spelled = replace(status(1), run_id=RUN.upper(), flow_id=DIGEST.upper())
    assert canonical(spelled) == canonical(spelled, RUN) == status(1)
    with pytest.raises(RemoteError, match="another run"):
        canonical(status(1), RUN.replace("1", "2"))
    with pytest.raises(RemoteError, match="not a UUID"):
        canonical(replace(status(1), run_id="run-1"))


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"runId":1}'])
def test_what_is_no_status_is_the_fault_of_the_upstream(text: str) -> None:
    with pytest.raises(RemoteError, match="unexpected response"):
        read_status(text)
    with pytest.raises(RemoteError, match="unexpected response"):
        read_state(Event("", text), RUN)


def test_an_event_needs_its_revision() -> None:
    text = (
        f'{{"runId":"{RUN}","flowId":"{DIGEST}","status":"running","items":{{"total":3}},'
        '"createdAt":"2025-01-15T10:30:00Z","more":1,"heartbeat":true'
    )
    with pytest.raises(RemoteError, match="revision"):
        read_state(Event("", text + "}"), RUN)
    state = read_state(Event("AQ", text + ',"revision":7,"finishedPrefix":2,"resultCount":3,"restarted":true}'), RUN)
    assert (state.revision, state.completions, state.prefix) == (7, 3, 2)
    assert (state.restarted, state.token) == (True, b"\x01")
    assert state.status.extensions == {"more": "1"}
    assert isinstance(snapshot_of(state.status, 0), Snapshot)


def test_a_state_catches_up_with_a_gateway_that_has_counted_up() -> None:
    first = snapshot_of(status(4, running=2, success=1), 0)
    again = snapshot_of(status(4, running=1, success=1), 0)
    counted = successor(first, again)
    assert counted is not None
    assert counted.revision > first.revision > again.revision
    assert caught_up(again, counted.revision) == replace(again, revision=counted.revision)
    assert caught_up(first, again.revision) is first
    further = snapshot_of(status(4, success=2), 0)
    assert caught_up(again, further.revision) is None
    assert caught_up(further, counted.revision) is further
