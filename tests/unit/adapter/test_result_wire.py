"""Results that are written without protobuf are the bytes that protobuf writes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.adapter.proto_fields import JSON
from gateway.adapter.result_wire import serialized_results, with_results
from gateway.adapter.status_proto import add_results
from gateway.core.model import ItemError, ItemResult, RunState
from gateway.core.times import MAX_SECONDS, MIN_SECONDS
from runs.v1 import runs_pb2

NOW = 1_790_000_000 * 10**9
TEXTS = st.one_of(
    st.sampled_from(["null", '"a"', '"' + "x" * 200 + '"', '"ä€😀"', "1" * 127, "1" * 128, "1" * 16_384]),
    st.text().map(lambda text: f'"{text}"'),
)
INDEXES = st.one_of(st.integers(0, 300), st.integers(2**14 - 2, 2**14 + 2), st.integers(0, 2**24))
# Nanoseconds of each number of bytes, in the seconds around now, and any time that a message can have.
TIMES = st.one_of(
    st.none(),
    st.builds(lambda second, nanos: NOW + second * 10**9 + nanos, st.integers(-1, 1), st.integers(0, 10**9 - 1)),
    st.builds(lambda bits: NOW + (1 << bits), st.integers(0, 29)),
    st.integers(MIN_SECONDS * 10**9, MAX_SECONDS * 10**9),
)
EXTENSIONS = st.sampled_from([{}, {}, {}, {"x": "1"}])
ERRORS = st.builds(ItemError, code=st.integers(-(2**63), 2**63 - 1), message=st.text(), data=st.none() | TEXTS)
RESULTS = st.one_of(
    st.builds(
        ItemResult,
        item_index=INDEXES,
        status=st.just(RunState.SUCCESS),
        value=TEXTS,
        completed_at=TIMES,
        extensions=EXTENSIONS,
    ),
    st.builds(ItemResult, item_index=INDEXES, status=st.just(RunState.FAILED), error=ERRORS, completed_at=TIMES),
    st.builds(ItemResult, item_index=INDEXES, status=st.sampled_from(RunState), completed_at=TIMES),
)


def by_protobuf(results: list[ItemResult]) -> runs_pb2.RunStatus:
    message = runs_pb2.RunStatus()
    add_results(message, results, JSON)
    return message


def success(index: int, completed_at: int, value: str = '"a"') -> ItemResult:
    return ItemResult(item_index=index, status=RunState.SUCCESS, value=value, completed_at=completed_at)


@given(st.lists(RESULTS, max_size=8))
@example([success(index, NOW + index * 20_777) for index in (*range(400), *range(16_300, 16_500))])
@example([success(5, time) for time in (2**28, 2**28 - 1, -(2**28), 2**40)])
def test_any_results_are_what_protobuf_writes(results: list[ItemResult]) -> None:
    assert serialized_results(results) == by_protobuf(results).SerializeToString()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_message_with_results_reads_as_one_that_protobuf_has_built(number: int) -> None:
    results = [success(index, NOW) for index in range(number)]
    message = runs_pb2.GetRunResponse(revision=7, finished_prefix=number)
    message.run.run_id = "r"
    message.run.extensions["x"].json = "1"
    expected = runs_pb2.GetRunResponse()
    expected.CopyFrom(message)
    expected.run.MergeFrom(by_protobuf(results))
    assert runs_pb2.GetRunResponse.FromString(with_results(message, results)) == expected
