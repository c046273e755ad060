"""What real runtimes and components said to each other, through the readers of every dialect."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.adapter.blobs_json import blob_from_json, blob_id_from_json, blob_id_to_json, blob_to_json
from gateway.adapter.jsonrpc import Refused, Request, error_response, parse_body, parse_response
from gateway.adapter.params_json import (
    get_params_from_json,
    get_params_to_json,
    submit_params_from_json,
    submit_params_to_json,
)
from gateway.adapter.status_from_json import run_status_from_json
from gateway.adapter.status_proto import run_status_from_proto, run_status_to_proto
from gateway.adapter.status_to_json import run_status_to_canonical_json, run_status_to_json
from gateway.core.errors import GatewayError
from gateway.core.json_text import members
from gateway.core.model import blob_digest

RECORDINGS = sorted((Path(__file__).parents[2] / "data" / "wire").glob("*/*.jsonl"))
PARAMETERS = {
    "runs/submit": submit_params_from_json,
    "runs/get": get_params_from_json,
    "blobs/put": blob_from_json,
    "blobs/get": blob_id_from_json,
}

recordings = pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")


def exchanges(path: Path) -> Iterator[tuple[Request, str]]:
    """Each callback of a component with the answer of the runtime, as JSON-RPC messages."""
    pending: dict[str, Request] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = members(line)
        if "http" in entry:
            continue
        call = parse_body(entry["message"])
        if isinstance(call, Request) and entry["from"] == '"component"' and call.id is not None:
            pending[call.id] = call
        elif isinstance(call, Refused) and entry["from"] == '"runtime"' and call.id in pending:
            yield pending.pop(call.id), entry["message"]


def answered(message: str) -> str | GatewayError:
    try:
        return parse_response(message)
    except GatewayError as error:
        return error


def same(ours: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Ours says everything that was recorded."""
    assert {name: ours.get(name) for name in recorded} == recorded


def test_there_are_recordings() -> None:
    callbacks = [call.method for path in RECORDINGS for call, _ in exchanges(path)]
    assert {path.parent.name for path in RECORDINGS} == {"0.9.0", "0.10.0", "0.11.1"}
    assert set(PARAMETERS) <= set(callbacks)


@recordings
def test_callbacks_are_read_and_nothing_is_lost(path: Path) -> None:
    for call, message in exchanges(path):
        if call.method not in PARAMETERS or isinstance(answered(message), GatewayError):
            continue
        assert call.params is None or isinstance(call.params, str)
        recorded = json.loads(call.params or "null")
        if call.method == "runs/submit":
            written = json.loads(submit_params_to_json(submit_params_from_json(call.params)))
            same({"wait": False} | written, recorded)
        elif call.method == "runs/get":
            written = json.loads(get_params_to_json(get_params_from_json(call.params)))
            order = recorded.pop("resultOrder", None)
            same({"wait": False, "includeResults": False} | written, recorded)
            assert (written.get("resultOrder") == "byCompletion") == (order == "by_completion")
        else:
            assert PARAMETERS[call.method](call.params)


@recordings
def test_results_are_read_and_nothing_is_lost(path: Path) -> None:
    for call, message in exchanges(path):
        result = answered(message)
        if isinstance(result, GatewayError):
            assert call.id is not None
            same(json.loads(error_response(call.id, result))["error"], json.loads(message)["error"])
        elif call.method in ("runs/submit", "runs/get"):
            check_status(result)
        elif call.method == "blobs/put":
            blob_id = blob_id_from_json(result)
            assert blob_digest(blob_id) is not None
            same(json.loads(blob_id_to_json(blob_id)), json.loads(result))
        elif call.method == "blobs/get":
            same(json.loads(blob_to_json(blob_from_json(result))), json.loads(result))


def check_status(text: str) -> None:
    status = run_status_from_json(text)
    assert run_status_from_json(run_status_to_canonical_json(status)) == status
    through = run_status_from_proto(run_status_to_proto(status), with_results=status.results is not None)
    assert through == status
    recorded, written = json.loads(text), json.loads(run_status_to_json(through))
    assert written["status"] == {"completed": "success"}.get(recorded["status"], recorded["status"])
    same(written["items"], recorded["items"])
    for name in ("runId", "flowId", "flowName"):
        assert written.get(name) == recorded.get(name)
    for ours, entry in zip(written.get("results", []), recorded.get("results", []), strict=True):
        assert (ours["itemIndex"], ours["status"]) == (entry["itemIndex"], entry["status"])
        if entry.get("result") is not None:
            same(ours["result"], entry["result"])


@recordings
def test_the_blob_api(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = members(line)
        if "http" not in entry or entry["message"] == "null":
            continue
        recorded = json.loads(entry["message"])
        if "data" in recorded:
            blob = blob_from_json(entry["message"])
            same(json.loads(blob_to_json(blob, recorded.get("blobId"))), recorded)
        else:
            same(json.loads(blob_id_to_json(blob_id_from_json(entry["message"]))), recorded)
