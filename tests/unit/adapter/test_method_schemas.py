"""The schemas of the methods: all that the model allows fits them, and what readers refuse does not."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.method_permissions import JSONRPC_PERMISSIONS
from gateway.adapter import control_json, items_json, params_json, status_to_json, tokens_json
from gateway.adapter.blobs_json import blob_from_json
from gateway.adapter.method_schemas import EVERY, METHODS
from gateway.adapter.remote_errors import _KINDS
from gateway.adapter.sets_json import set_params_from_json
from gateway.core.errors import InvalidParams
from gateway.core.json_text import json_text
from tests.support import control_messages, messages, token_messages
from tests.support.openrpc import faults_of, faults_of_answer, faults_of_params

PROTOS: Final = Path(__file__).parents[3] / "protos/runs/v1"
WRITERS: Final[dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], str]]]] = {
    "runs/submit": (messages.submit_params, params_json.submit_params_to_json),
    "runs/get": (messages.get_params, params_json.get_params_to_json),
    "runs/cancel": (
        control_messages.cancel_params | control_messages.cancel_runs_params,
        control_json.cancel_params_to_json,
    ),
    "runs/list": (control_messages.list_params, control_json.list_params_to_json),
    "runs/delete": (
        control_messages.delete_params | control_messages.delete_runs_params,
        control_json.delete_params_to_json,
    ),
    "runs/items": (control_messages.items_params, items_json.items_params_to_json),
    "runs/token": (token_messages.token_params, tokens_json.token_params_to_json),
}
READERS: Final[dict[str, Callable[[str], Any]]] = {
    "runs/submit": params_json.submit_params_from_json,
    "runs/get": params_json.get_params_from_json,
    "runs/cancel": control_json.cancel_params_from_json,
    "runs/list": control_json.list_params_from_json,
    "runs/delete": control_json.delete_params_from_json,
    "runs/items": items_json.items_params_from_json,
    "runs/token": tokens_json.token_params_from_json,
    "runs/watch": set_params_from_json,
    "blobs/put": blob_from_json,
}


def answer(text: str) -> dict[str, Any]:
    return {"result": json.loads(text)}


@pytest.mark.parametrize("method", WRITERS)
@given(st.data())
def test_all_parameters_fit(method: str, data: st.DataObject) -> None:
    strategy, write = WRITERS[method]
    assert faults_of_params(method, json.loads(write(data.draw(strategy)))) == []


def test_a_blob_is_read_by_an_id_in_either_spelling() -> None:
    assert [faults_of_params("blobs/get", {name: "a"}) for name in ("blobId", "blob_id")] == [[], []]
    assert faults_of_params("blobs/get", {}) == ["'blobId' is a required property"]


@given(messages.run_statuses())
def test_all_statuses_fit(status: Any) -> None:
    for write in (status_to_json.run_status_to_json, status_to_json.run_status_to_canonical_json):
        for method in ("runs/submit", "runs/get", "runs/cancel"):
            assert faults_of_answer(method, answer(write(status))) == []


@given(control_messages.run_lists, control_messages.item_lists, control_messages.progress)
def test_all_pages_and_progress_fit(runs: Any, items: Any, progress: Any) -> None:
    listed = ",".join(map(status_to_json.run_status_to_json, runs.runs))
    assert faults_of_answer("runs/list", answer(f'{{"runs":[{listed}{control_json.end_of_run_list(runs)}')) == []
    listed = ",".join("".join(items_json.item_pieces(item)) for item in items.items)
    assert faults_of_answer("runs/items", answer(f'{{"items":[{listed}{items_json.end_of_item_list(items)}')) == []
    assert faults_of_answer("runs/cancel", answer(control_json.cancel_progress_to_json(progress))) == []
    assert faults_of_answer("runs/delete", answer(control_json.delete_progress_to_json(progress))) == []


@given(token_messages.created_tokens)
def test_all_tokens_fit(created: Any) -> None:
    assert faults_of_answer("runs/token", answer(tokens_json.created_token_to_json(created))) == []


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("runs/submit", {"inputs": []}),
        ("runs/submit", {"flowId": "", "inputs": []}),
        ("runs/submit", {"flowId": "a", "inputs": {}}),
        ("runs/submit", {"flowId": None, "inputs": []}),
        ("runs/submit", {"flowId": "a", "inputs": [], "maxConcurrency": 0}),
        ("runs/submit", {"flowId": "a", "inputs": [], "overrides": []}),
        ("runs/submit", {"flowId": "a", "inputs": [], "subflowKey": "x" * 256}),
        ("runs/submit", {"flowId": "a", "inputs": [], "labels": {"": "x"}}),
        ("runs/submit", {"flowId": "a", "inputs": [], "labels": {str(n): "" for n in range(33)}}),
        ("runs/submit", {"flowId": "a", "inputs": [], "executionTimeoutSecs": 0}),
        ("runs/submit", {"flowId": "a", "inputs": [], "observability": {"traceId": 1}}),
        ("runs/get", {"runId": "a", "resultOrder": "byChance"}),
        ("runs/get", {"runId": "a", "heartbeatSecs": 0.01}),
        ("runs/cancel", {"runId": "a", "why": "?"}),
        ("runs/list", {"filter": {"states": ["asleep"]}}),
        ("runs/list", {"filter": {"owner": "me"}}),
        ("runs/list", {"pageSize": -1}),
        ("runs/items", {}),
        ("runs/token", {"permissions": []}),
        ("runs/token", {"permissions": ["fly"]}),
        ("runs/watch", {"onlyNew": 1}),
        ("blobs/put", {"blobType": "data"}),
        ("blobs/put", {"data": 1, "blobType": "image"}),
    ],
)
def test_what_a_reader_refuses_does_not_fit(method: str, params: Any) -> None:
    with pytest.raises(InvalidParams):
        READERS[method](json_text(json.dumps(params)))
    assert faults_of_params(method, params)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("runs/submit", {"flowId": "a", "inputs": [], "flowLabel": "", "wait": None, "something": 1, "_meta": {}}),
        ("runs/get", {"runId": "a", "resultOrder": "by_completion", "observability": {"trace_id": "a", "x": 1}}),
        ("runs/list", {"filter": {"states": ["completed"], "flowName": ""}, "order": "oldest_first", "_meta": {}}),
        ("runs/cancel", {"runId": "a", "reason": ""}),
        ("blobs/put", {"data": "AA==", "blob_type": "binary", "blobType": None}),
    ],
)
def test_what_a_reader_takes_fits(method: str, params: Any) -> None:
    READERS[method](json_text(json.dumps(params)))
    assert faults_of_params(method, params) == []


def test_a_method_has_a_schema_and_a_permission() -> None:
    assert METHODS.keys() == JSONRPC_PERMISSIONS.keys()


NAMES: Final = {name for kind in _KINDS for name in (kind.grpc_status, kind.reason)}


def contract() -> dict[str, set[str]]:
    """The gRPC statuses, and the reasons, that the contract names for each JSON-RPC method."""
    found: dict[str, set[str]] = {}
    for file in PROTOS.glob("*.proto"):
        comments = re.findall(r"((?:^  //.*\n)+)  rpc (\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
        for comment, _ in comments:
            text = re.sub(r"\s*// ?", " ", comment)
            if (method := re.search(r"`(runs/\w+|blobs/\w+)`", text)) and (errors := text.partition("Errors:")[2]):
                found.setdefault(method[1], set()).update(re.findall(r"\b[A-Z]+_?[A-Z_]+\b", errors))
    return found


@pytest.mark.parametrize("method", sorted(contract()))
def test_errors_of_the_contract_are_in_the_document(method: str) -> None:
    described = METHODS[method]
    every = {error["code"]: error for error in described.error_objects()}
    assert len(every) == len(described.error_objects())
    told = {reason for error in every.values() for reason in error["data"]["reasons"]}
    statuses = {kind.grpc_status for kind in (*described.errors, *EVERY)}
    assert contract()[method] & NAMES <= told | statuses


def test_the_contract_names_errors() -> None:
    assert contract().keys() >= {"runs/submit", "runs/get", "runs/list", "blobs/get"}


def test_the_data_of_errors() -> None:
    assert faults_of("ErrorData", {"reason": "X", "retryAfterSecs": 1.5}) == []
    assert faults_of("ErrorData", {"retryAfterSecs": 1.5})
