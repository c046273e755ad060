"""Long bodies are read as short ones are, whatever is in them."""

import asyncio
import json
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.adapter import long_requests
from gateway.adapter.blobs_json import blob_from_json
from gateway.adapter.jsonrpc import Batch, Call, Refused, Request, parse_body
from gateway.adapter.long_requests import read_long_body, read_long_members
from gateway.adapter.params_json import get_params_from_json, submit_params_from_json
from gateway.core import json_parts, json_walk
from gateway.core.errors import GatewayError, InvalidParams
from gateway.core.json_text import json_text
from gateway.core.packed_texts import PackedTexts

FLOW = "sha256:" + "ab" * 32


async def checkpoint() -> None:
    await asyncio.sleep(0)


def described(call: Call) -> object:
    """A call, as far as clients can tell."""
    if isinstance(call, Refused):
        return call.id, type(call.error), call.error.message
    try:
        if call.method == "runs/submit":
            params = submit_params_from_json(call.params)
            return call.id, call.method, replace(params, inputs=list(params.inputs))
        if call.method == "blobs/put":
            return call.id, call.method, blob_from_json(call.params)
        return call.id, call.method, get_params_from_json(call.params)
    except InvalidParams as error:
        return call.id, call.method, error.violations


async def outcome(body: bytes, *, long: bool) -> object:
    try:
        calls = await read_long_body(body, checkpoint) if long else parse_body(body)
    except GatewayError as error:
        return type(error)
    return [described(call) for call in calls.calls] if isinstance(calls, Batch) else described(calls)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('aé中😀\\"[]{},: ', max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab"\\,', max_size=3), inner, max_size=3),
    max_leaves=12,
)
METHODS = st.sampled_from(["runs/submit", "runs/get", "blobs/put", "nothing", 7])
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "flowId": st.just(FLOW),
        "inputs": st.lists(JSON, max_size=8) | JSON,
        "variables": st.dictionaries(st.text("ab", max_size=2), JSON, max_size=3),
        "overrides": JSON,
        "data": JSON,
        "more": JSON,
        "runId": st.just("run"),
    },
)
CALL = st.fixed_dictionaries(
    {"method": METHODS},
    optional={"jsonrpc": st.just("2.0") | JSON, "id": JSON, "params": PARAMS | JSON, "other": JSON},
)


@given(CALL | st.lists(CALL | JSON, max_size=4) | JSON, st.booleans(), st.sampled_from([16, 20, 50]))
async def test_a_long_body_is_read_as_a_short_one(body: object, spread: bool, window: int) -> None:
    text = json.dumps(body, ensure_ascii=False, separators=(" , ", " :\n") if spread else (",", ":"))
    encoded = f" {text} ".encode()
    with (
        patch.object(json_walk, "WINDOW", window),
        patch.object(json_parts, "WINDOW", window),
        patch.object(json_parts, "_DECODED_AT_ONCE", window),
        patch.object(json_walk, "_CHECKED_AT_ONCE", window // 4),
        patch.object(long_requests, "LONG_TEXT", window),
    ):
        for broken in (encoded, encoded[: len(encoded) // 2], encoded.replace(b",", b",,", 1), b"\xff" + encoded):
            assert await outcome(broken, long=True) == await outcome(broken, long=False)


async def test_many_inputs_are_packed() -> None:
    inputs = ",".join(f'{{"n": {number}}}' for number in range(20_000))
    body = f'{{"params":{{"inputs":[{inputs}],"flowId":"{FLOW}"}},"id":1,"method":"runs\\/submit","jsonrpc":"2.0"}}'
    call = await read_long_body(body.encode(), checkpoint)
    assert isinstance(call, Request)
    params = submit_params_from_json(call.params)
    assert isinstance(params.inputs, PackedTexts)
    assert params.inputs == [f'{{"n": {number}}}' for number in range(20_000)]


async def test_a_long_blob_is_read_as_a_short_one() -> None:
    text = f'{{"blobType":"data","data":{{"a": "{"é" * 100_000}"}}}}'
    params = await read_long_members(text.encode(), checkpoint)
    assert isinstance(params, dict)
    assert blob_from_json(params) == blob_from_json(json_text(text))
    with pytest.raises(InvalidParams, match="expected an object"):
        blob_from_json(await read_long_members(b"[" + b" " * 100_000 + b"]", checkpoint))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[" + "1," * 60_000 + "?]", 120_001),
        ('["' + "x" * 90_000 + '\x01"]', 90_002),
        ('["\x01' + "x" * 90_000 + '"]', 2),
    ],
)
async def test_mistakes_are_told_with_their_place(text: str, place: int) -> None:
    short = await outcome(text.encode(), long=False)
    with pytest.raises(GatewayError) as error:
        await read_long_body(text.encode(), checkpoint)
    assert type(error.value) is short
    assert f"(byte {place})" in error.value.message


LONG_NAME = "n" * (json_parts.MAX_NAME + 1)


@pytest.mark.parametrize(
    ("request_id", "told"),
    [(7, ("7", -32602)), ("é", ('"é"', -32602)), (None, ("null", -32602)), ([], ("null", -32600))],
)
async def test_a_name_that_is_too_long_in_parameters_is_told_with_the_id(
    request_id: object, told: tuple[str, int]
) -> None:
    whole = {"jsonrpc": "2.0", "id": request_id, "method": "runs/submit", "params": {LONG_NAME: 1}}
    for batch in (False, True):
        body = json.dumps([whole, 1] if batch else whole, ensure_ascii=False).encode()
        read = await read_long_body(body, checkpoint)
        call = read.calls[0] if isinstance(read, Batch) else read
        assert isinstance(call, Refused)
        assert (call.id, call.error.code) == told
        if told[1] == -32602:
            assert call.error.message == "params: a member has a name of more than 65,536 bytes"


async def test_a_name_that_is_too_long_in_a_request_makes_it_none() -> None:
    call = await read_long_body(json.dumps({"jsonrpc": "2.0", "id": 1, LONG_NAME: 1}).encode(), checkpoint)
    assert isinstance(call, Refused)
    assert (call.id, call.error.code) == ("null", -32600)
    assert "65,536 bytes" in call.error.message


async def test_a_name_that_is_too_long_in_a_notification_is_not_answered() -> None:
    body = json.dumps({"jsonrpc": "2.0", "method": "runs/submit", "params": {LONG_NAME: 1}}).encode()
    assert await read_long_body(body, checkpoint) == Request(None, "runs/submit", None)
