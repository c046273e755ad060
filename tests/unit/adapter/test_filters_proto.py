import pytest
from hypothesis import given

from gateway.adapter.filters_proto import run_filter_from_proto, run_filter_to_proto
from gateway.core.errors import InvalidParams
from gateway.core.run_filter import RunFilter
from runs.v1 import runs_pb2
from tests.support.run_filters import run_filters

UNSPECIFIED = runs_pb2.RUN_STATE_UNSPECIFIED


@given(run_filters())
def test_a_filter_comes_back(wanted: RunFilter) -> None:
    message = runs_pb2.RunFilter.FromString(run_filter_to_proto(wanted).SerializeToString())
    assert run_filter_from_proto(message) == wanted


def test_an_empty_message_matches_all() -> None:
    assert run_filter_from_proto(runs_pb2.RunFilter()) == RunFilter()


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (
            runs_pb2.RunFilter(states=[runs_pb2.RUN_STATE_FAILED, runs_pb2.RUN_STATE_UNSPECIFIED]),
            ("filter", "states", 1),
        ),
        (runs_pb2.RunFilter(flow_ids=["a" * 64] * 3 + ["x"]), ("filter", "flow_ids", 3)),
        (runs_pb2.RunFilter(flow_label="*a"), ("filter", "flow_label")),
        (runs_pb2.RunFilter(labels={"": "x"}), ("filter", "labels")),
    ],
)
def test_faults_are_named_with_their_places(message: runs_pb2.RunFilter, path: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidParams) as caught:
        run_filter_from_proto(message, "filter")
    assert caught.value.violations[0].path[: len(path)] == path
