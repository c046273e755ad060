"""Blobs and flows for an engine, and what it says of them."""

import json

import pytest

from gateway.core.errors import InvalidFlow, RemoteError, TooLarge, render_path
from gateway.runtimes.stepflow.flows import blob_id_from_json, blob_to_store, flow_to_check, refuse_invalid_flow
from gateway.runtimes.stepflow.wire_format import WireFormat

DIGEST = "9b16097c3d8baa5426b1a4f3dbe8e99a25e4b0eae0b606b7013b7171b8bd5b42"


def diagnostics(*found: tuple[object, str]) -> bytes:
    entries = [{"level": level, "path": path, "formatted": f"at {path}", "kind": "x"} for level, path in found]
    return json.dumps({"flowId": DIGEST, "stored": False, "diagnostics": {"diagnostics": entries}}).encode()


def test_blobs() -> None:
    assert blob_to_store('{"b":1.50, "a":9007199254740993}', "data") == (
        b'{"data":{"b":1.50, "a":9007199254740993},"blobType":"data"}'
    )
    assert blob_id_from_json(f'{{"blobId":"{DIGEST}"}}'.encode()) == f"sha256:{DIGEST}"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"blobId":"x"}'])
def test_ids_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(RemoteError):
        blob_id_from_json(body)


FLOW = '{"steps":[{"id":"a","onError":{"action":"retry","maxRetries":%s}},{"id":"b"}],"output":9007199254740993}'


def test_a_flow_is_checked_as_it_is_where_integers_stay_integers() -> None:
    flow = FLOW % 1
    assert flow_to_check(flow, WireFormat.LEGACY) == f'{{"flow":{flow},"dryRun":true}}'.encode()


@pytest.mark.parametrize(
    ("retries", "left"), [("1", False), ("-1", True), ('"x"', True), ("1.5", True), ("true", True)]
)
def test_retries_that_are_right_are_left_out_where_they_would_become_doubles(retries: str, left: bool) -> None:
    checked = json.loads(flow_to_check(FLOW % retries, WireFormat.PROTO_JSON))
    assert ("maxRetries" in checked["flow"]["steps"][0]["onError"]) is left
    assert checked["flow"]["output"] == 9007199254740993


@pytest.mark.parametrize("flow", ["5", "[]", "null", "{}", '{"name":"x"}', "[" * 100_000 + "]" * 100_000])
@pytest.mark.parametrize("wire_format", WireFormat)
def test_what_is_no_flow_at_all(flow: str, wire_format: WireFormat) -> None:
    with pytest.raises(InvalidFlow):
        flow_to_check(flow, wire_format)


@pytest.mark.parametrize(
    "flow", ['{"steps":"x"}', '{"steps":[5,{"onError":1},{"onError":{"maxRetries":{}}}]}', '{"output":1}']
)
def test_the_rest_is_for_the_engine_to_judge(flow: str) -> None:
    assert json.loads(flow_to_check(flow, WireFormat.PROTO_JSON))["flow"] == json.loads(flow)


def test_warnings_do_no_harm() -> None:
    refuse_invalid_flow(200, diagnostics((3, "$.name"), ("warning", "$.description")))


def test_errors_with_which_an_engine_runs_a_flow_all_the_same() -> None:
    refuse_invalid_flow(200, diagnostics((2, "$.output"), ("error", "$.output")))


@pytest.mark.parametrize("level", [1, "fatal"])
def test_what_the_engine_finds_wrong_is_told_with_its_place(level: object) -> None:
    with pytest.raises(InvalidFlow) as error:
        refuse_invalid_flow(200, diagnostics((level, "$.steps[1].id"), (3, "$.name"), (level, "$")))
    assert [(render_path(path), text) for path, text in error.value.violations] == [
        ("steps[1].id", "at $.steps[1].id"),
        ("", "at $"),
    ]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"error":{"message":"invalid flow definition: no steps"}}', "no steps"),
        (
            422,
            b"Failed to deserialize the JSON body into the target type: flow.steps[0]: missing `id` at line 1 column 9",
            "steps[0]: missing `id` at line 1 column 9",
        ),
    ],
)
def test_documents_that_the_engine_cannot_read(status: int, body: bytes, message: str) -> None:
    with pytest.raises(InvalidFlow) as error:
        refuse_invalid_flow(status, body)
    assert error.value.message == message


def test_other_answers() -> None:
    with pytest.raises(TooLarge):
        refuse_invalid_flow(413, b"")
    with pytest.raises(RemoteError):
        refuse_invalid_flow(500, b"")
