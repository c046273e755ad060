"""Requests with very many members or fields are refused after a look at few of them; payloads may have any number."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import pytest

from gateway.adapter import long_fields, long_messages, long_values
from gateway.adapter.blobs_json import blob_from_json
from gateway.adapter.json_members import Params
from gateway.adapter.jsonrpc import Batch, Refused, Request
from gateway.adapter.long_messages import read_long_blob, read_long_part, read_long_submit
from gateway.adapter.long_requests import read_long_body, read_long_members
from gateway.adapter.params_json import get_params_from_json, submit_params_from_json
from gateway.adapter.proto_wire import WireField, field_at, length_prefix
from gateway.core import json_parts
from gateway.core.errors import GatewayError, InvalidParams, InvalidRequest
from gateway.core.json_text import MAX_MEMBERS, string
from gateway.core.packed_texts import PackedTexts
from runs.v1 import blobs_pb2, runs_pb2

FLOW = "sha256:" + "ab" * 32
MANY = 3 * MAX_MEMBERS


def many(number: int = MANY) -> str:
    """Many members, without the brackets."""
    return ",".join(f'"k{place}":1' for place in range(number))


async def checkpoint() -> None:
    pass


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each member and field that is looked at."""
    found: list[int] = []

    def read(text: str, *path: str | int) -> str:
        found.append(0)
        return string(text, *path)

    def next_field(data: bytes, place: int, stop: int) -> WireField:
        found.append(1)
        return field_at(data, place, stop)

    monkeypatch.setattr(json_parts, "string", read)
    for module in (long_fields, long_messages, long_values):
        monkeypatch.setattr(module, "field_at", next_field)
    return found


PARAMS: list[tuple[str, str, Callable[[Params], object], str]] = [
    ("runs/submit", f'"variables":{{{many()}}}', submit_params_from_json, "variables"),
    ("runs/submit", f'"observability":{{{many()}}}', submit_params_from_json, "observability"),
    ("runs/submit", many(), submit_params_from_json, "params"),
    ("runs/get", f'"observability":{{{many()}}}', get_params_from_json, "observability"),
    ("runs/get", many(), get_params_from_json, "params"),
    ("blobs/put", many(), blob_from_json, "params"),
]


@pytest.mark.parametrize(("method", "members", "read", "field"), PARAMS)
@pytest.mark.parametrize("batch", [False, True])
async def test_parameters_with_many_members_are_refused(
    method: str, members: str, read: Callable[[Params], object], field: str, batch: bool, looked_at: list[int]
) -> None:
    body = f'{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{"flowId":"{FLOW}","inputs":[1],{members}}}}}'
    calls = await read_long_body((f"[{body}]" if batch else body).encode(), checkpoint)
    call = calls.calls[0] if isinstance(calls, Batch) else calls
    assert isinstance(call, Request)
    assert call.id == "7"
    with pytest.raises(InvalidParams, match=f"^{field}: more than 10,000 members"):
        read(call.params)
    assert len(looked_at) < MAX_MEMBERS + 20


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        (f'{{"jsonrpc":"2.0","id":7,"method":"m",{many()}}}', "7"),
        (f'{{{many()},"jsonrpc":"2.0","id":7,"method":"m"}}', "null"),
    ],
    ids=["id first", "id last"],
)
async def test_a_request_with_many_members_is_refused(body: str, request_id: str, looked_at: list[int]) -> None:
    call = await read_long_body(body.encode(), checkpoint)
    assert isinstance(call, Refused)
    assert call.id == request_id
    assert isinstance(call.error, InvalidRequest)
    assert "more than 10,000 members" in call.error.message
    assert len(looked_at) < MAX_MEMBERS + 20


async def test_a_body_of_the_blob_api_with_many_members_is_refused(looked_at: list[int]) -> None:
    params = await read_long_members(f'{{"data":1,{many()}}}'.encode(), checkpoint)
    with pytest.raises(InvalidParams, match="more than 10,000 members"):
        blob_from_json(params)
    assert len(looked_at) < MAX_MEMBERS + 20


async def test_payloads_may_have_any_number_of_members() -> None:
    inputs = f'[{{{many()}}}],"overrides":{{{many()}}},"variables":{{"v":{{{many()}}}}},{many(MAX_MEMBERS - 4)}'
    body = f'{{"jsonrpc":"2.0","id":7,"method":"runs/submit","params":{{"flowId":"{FLOW}","inputs":{inputs}}}}}'
    call = await read_long_body(body.encode(), checkpoint)
    assert isinstance(call, Request)
    params = submit_params_from_json(call.params)
    assert params.variables == {"v": f"{{{many()}}}"}
    assert len(params.extensions) == MAX_MEMBERS - 4
    assert blob_from_json(await read_long_members(f'{{"data":{{{many()}}}}}'.encode(), checkpoint))


async def test_variables_and_traces_are_read_as_short_ones_are() -> None:
    text = f'"variables":{{"a":[1],"b":null,{many(9_000)}}},"observability":{{"traceId":"t","x":"{"y" * 70_000}"}}'
    params = f'{{"flowId":"{FLOW}","inputs":[1],{text}}}'
    call = await read_long_body(f'{{"jsonrpc":"2.0","method":"runs/submit","params":{params}}}'.encode(), checkpoint)
    assert isinstance(call, Request)
    assert submit_params_from_json(call.params) == submit_params_from_json(params)


def field(number: int, content: bytes) -> bytes:
    return length_prefix(number, len(content)) + content


def mapped(name: str, number: int = MANY) -> bytes:
    """A submit with a map of many members: `variables`, `extensions`, or those of the trace."""
    request = runs_pb2.SubmitRunRequest(flow_id=FLOW)
    message: Any = request if name != "observability" else request.observability
    for place in range(number):
        getattr(message, name if name == "variables" else "extensions")[f"k{place}"].json = "1"
    return request.SerializeToString()


UNKNOWN = b"\xa0\x06\x01" * MANY
BOOLEANS = field(6, b"\x0a\x02\x20\x01" * MANY)
PLAIN = runs_pb2.SubmitRunRequest(flow_id=FLOW).SerializeToString()
REFUSED = {
    "variables": (mapped("variables"), r"variables: more than 10,000 members"),
    "extensions": (mapped("extensions"), r"extensions: more than 10,000 members"),
    "observability": (mapped("observability"), r"observability\.extensions: more than 10,000 members"),
    "unknown fields": (PLAIN + UNKNOWN, "the request has more than 10,000 fields that are unknown or repeat others"),
    "unknown fields of a timeout": (PLAIN + field(7, UNKNOWN), "the request has more than 10,000 fields"),
    "unknown fields of a variable": (PLAIN + field(9, field(2, UNKNOWN)), "the request has more than 10,000 fields"),
    "fields of another type": (PLAIN + b"\x08\x01" * MANY, "the request has more than 10,000 fields"),
    "repeated fields": (PLAIN + b"\x18\x01" * MANY, "the request has more than 10,000 fields"),
    "repeated messages": (PLAIN + b"\x32\x00" * MANY, "the request has more than 10,000 fields"),
}


def as_submit(data: bytes) -> Awaitable[object]:
    return read_long_submit(data, checkpoint)


def as_part(data: bytes) -> Awaitable[object]:
    return read_long_part(field(1, data), PackedTexts(), checkpoint)


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("read", [as_submit, as_part])
async def test_messages_with_many_fields_are_refused(
    kind: str, read: Callable[[bytes], Awaitable[object]], looked_at: list[int]
) -> None:
    data, message = REFUSED[kind]
    with pytest.raises(GatewayError, match=message):
        await read(data)
    # A member of a map has a key, and a value with one field.
    assert len(looked_at) < 4 * MAX_MEMBERS + 20


@pytest.mark.parametrize(
    "data",
    [UNKNOWN, b"\x18\x01" * MANY, b"\x0a\x011" * MANY],
    ids=["unknown fields", "repeated fields", "repeated contents"],
)
async def test_blobs_with_many_fields_are_refused(data: bytes, looked_at: list[int]) -> None:
    with pytest.raises(InvalidRequest, match="the request has more than 10,000 fields"):
        await read_long_blob(blobs_pb2.PutBlobRequest(json="1").SerializeToString() + data, checkpoint)
    assert len(looked_at) < MAX_MEMBERS + 20


async def test_many_parts_named_parameters_are_refused(looked_at: list[int]) -> None:
    with pytest.raises(InvalidRequest, match="the request has more than 10,000 fields"):
        await read_long_part(b"\x0a\x00" * MANY, PackedTexts(), checkpoint)
    assert len(looked_at) < MAX_MEMBERS + 20


@pytest.mark.parametrize("number", [9, 15, 5], ids=["a variable", "an extension", "overrides"])
async def test_the_parser_never_gets_a_long_value(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold the interpreter for as long as the value has elements."""
    value = field(2, BOOLEANS)
    data = PLAIN + field(number, value if number == 5 else field(1, b"k") + field(2, value))
    parsed: list[int] = []
    parse = runs_pb2.SubmitRunRequest.FromString

    class Parser:
        DESCRIPTOR = runs_pb2.SubmitRunRequest.DESCRIPTOR

        @staticmethod
        def FromString(data: bytes) -> runs_pb2.SubmitRunRequest:  # noqa: N802 - protobuf names it
            message = parse(data)
            given = [message.overrides, *message.variables.values(), *message.extensions.values()]
            parsed.append(sum(len(value.value.list_value.values) for value in given))
            return message

    monkeypatch.setattr(runs_pb2, "SubmitRunRequest", Parser)
    with pytest.raises(InvalidParams, match="overrides: expected an object") if number == 5 else nullcontext():
        params, _ = await read_long_submit(data, checkpoint)
        assert [*params.variables.values(), *params.extensions.values()] == [f"[{','.join(['true'] * MANY)}]"]
    assert parsed == [0]
