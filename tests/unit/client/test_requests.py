"""Parameters are checked before anything is sent, and large batches fit into messages."""

import re
from typing import Any

import pytest
from msgspec.structs import asdict

from gateway.client.payload import Json
from gateway.client.requests import MESSAGE_BYTES, RunWatch, fits, many_params, submit_params
from gateway.core.errors import InvalidParams
from gateway.core.model import ObservabilityContext, ResultOrder


def test_all_options_of_a_submit_reach_the_parameters() -> None:
    context = ObservabilityContext(trace_id="t")
    params = submit_params(
        "flow",
        iter([1, Json("2.50")]),
        max_concurrency=3,
        overrides={"steps": {}},
        variables={"a": None, "b": Json("1e400")},
        flow_label="nightly",
        labels={"team": "a"},
        execution_timeout=2.5,
        observability=context,
        idempotency_key="k",
    )
    left_out = {"extensions", "observability", "owner"}
    assert {name: value for name, value in asdict(params).items() if name not in left_out} == {
        "flow_id": "flow",
        "inputs": ["1", "2.50"],
        "wait": False,
        "max_concurrency": 3,
        "overrides": '{"steps":{}}',
        "timeout": None,
        "idempotency_key": "k",
        "variables": {"a": "null", "b": "1e400"},
        "flow_label": "nightly",
        "labels": {"team": "a"},
        "execution_timeout": 2.5,
    }
    assert params.observability is context


def test_each_submit_without_a_key_gets_one_of_its_own() -> None:
    keys = {submit_params("flow", []).idempotency_key for _ in range(100)}
    assert len(keys) == 100
    assert None not in keys


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"flow_label": "x" * 256}, "flow_label"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"variables": {"v": {1}}}, "variables.v"),
        ({"overrides": Json("{")}, "overrides"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidParams, match=f"^{field}: "):
        submit_params("flow", [], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"flow_label": "ü\ud800"}, "flow_label: lone surrogate (character 1)"),
        ({"idempotency_key": "\udc80"}, "idempotency_key: lone surrogate (character 0)"),
        ({"variables": {"a\ud800": 1}}, "variables: lone surrogate (character 1)"),
        ({"overrides": {"\ud800": {}}}, "overrides: lone surrogate (character 2)"),
        ({"observability": ObservabilityContext(trace_id="\ud800")}, "observability.trace_id: lone surrogate"),
        ({"flow_id": "\ud800"}, "flow_id: lone surrogate (character 0)"),
    ],
)
def test_texts_that_cannot_be_sent_are_named(options: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidParams, match=f"^{re.escape(place)}"):
        submit_params(**{"flow_id": "flow", "inputs": ["ü"], **options})


def test_inputs_fit_a_message_up_to_its_bytes() -> None:
    half = "x" * (MESSAGE_BYTES // 2 - 2)
    assert fits(submit_params("flow", [half, half]))
    assert not fits(submit_params("flow", [half, half, 1]))
    assert not fits(submit_params("flow", ["ü" * (MESSAGE_BYTES // 2)])), "bytes count, not characters"


def test_runs_among_many_keep_their_own_options() -> None:
    own = RunWatch("b", include_results=True, order=ResultOrder.BY_COMPLETION, resume_token=b"t")
    (first, second), refused = many_params(["a", "b", own], False, ResultOrder.BY_INDEX, 5.0, 60.0)
    assert refused == []
    assert (first.run_id, first.include_results, first.resume_token) == ("a", False, b"")
    assert (second.run_id, second.include_results, second.resume_token) == ("b", True, b"t")
    assert (second.result_order, second.wait, second.timeout) == (ResultOrder.BY_COMPLETION, True, 60.0)


def test_a_run_among_many_that_cannot_be_watched_is_refused_alone() -> None:
    unsent = RunWatch("mine", resume_token="no bytes")  # type: ignore[arg-type]
    watched, refused = many_params(["", "a", "\ud800", unsent], False, ResultOrder.BY_INDEX, 1.0, None)
    assert [params.run_id for params in watched] == ["a"]
    assert [(run_id, str(error).partition(":")[0]) for run_id, error in refused] == [
        ("", "run_id"),
        ("\ud800", "run_id"),
        ("mine", "resume_token"),
    ]
    assert all(error.__traceback__ is None for _, error in refused), "it would hold the frame that has the list"
    with pytest.raises(InvalidParams, match="timeout"):
        many_params([""], False, ResultOrder.BY_INDEX, 1.0, -1.0)


def test_the_more_runs_the_rarer_their_heartbeats() -> None:
    params, _ = many_params([str(number) for number in range(1_000)], False, ResultOrder.BY_INDEX, 5.0, None)
    assert {param.heartbeat_interval for param in params} == {100.0}
