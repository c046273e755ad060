from msgspec.msgpack import decode, encode

from gateway.core.model import ItemResult, ItemStatistics, RunState, RunStatus
from gateway.core.runtime import Snapshot
from gateway.fronts.link.states import SharedStates, state_told
from gateway.peers.link.messages import MAX_NAME, EncodedState, NotOverLink, Told, ToldState

RUN_ID = "01234567-89ab-4def-8123-456789abcdef"


def snapshot(revision: int, flow_name: str = "echo") -> Snapshot:
    status = RunStatus(
        run_id=RUN_ID,
        flow_id="sha256:" + "0" * 64,
        flow_name=flow_name,
        status=RunState.SUCCESS,
        items=ItemStatistics(total=1, success=1),
        created_at=1,
        completed_at=2,
    )
    result = ItemResult(item_index=0, status=RunState.SUCCESS, value="17", completed_at=2)
    return Snapshot(status, revision, 1, 1, [result])


def test_a_state_is_encoded_once_for_all_workers() -> None:
    states, state = SharedStates(), snapshot(1)

    told = [states.told(call, state) for call in range(8)]

    assert len({id(each.snapshot) for each in told if isinstance(each, EncodedState)}) == 1
    assert [decode(encode(each), type=Told) for each in told] == [ToldState(call, state) for call in range(8)]


def test_each_worker_is_told_the_state_that_is_its_own() -> None:
    states = SharedStates()
    shown = [snapshot(1), snapshot(2), snapshot(1)]

    told = [decode(encode(states.told(7, state)), type=Told) for state in shown]

    assert told == [state_told(7, state) for state in shown]


def test_a_state_that_is_too_long_is_sent_to_nobody() -> None:
    states, long = SharedStates(), snapshot(1, flow_name="n" * (MAX_NAME + 1))

    assert [states.told(call, long) for call in (1, 2)] == [NotOverLink(1, RUN_ID), NotOverLink(2, RUN_ID)]
    assert isinstance(states.told(1, snapshot(1)), EncodedState)
