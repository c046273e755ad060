"""Messages in JSON and in protobuf's bytes: both ways, short and long, and what is refused."""

import json
import time
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.message_from_json import from_json
from gateway.adapter.message_to_json import to_json
from gateway.core.errors import InvalidParams, InvalidRequest
from gateway.core.json_parts import LONG_TEXT
from runs.v1 import blobs_pb2, runs_pb2

LONG = "x" * LONG_TEXT
HARD = '\\"\n\u0000é𝄞漢/' * 20_000


HELD: list[int] = []


class Turns:
    """Counts the turns of others, and the longest time without one, of this thread."""

    def __init__(self) -> None:
        self.number = 0
        self.longest = 0.0
        self._last = time.thread_time()

    async def checkpoint(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self.number += 1
        self._last = time.thread_time()


async def both_ways(message: Message) -> dict[str, Any]:
    """Write a message and read it again. What protobuf's own reader makes of the text is the same."""
    data = message.SerializeToString()
    text = await to_json(data, type(message), Turns(), HELD.append)
    assert json_format.Parse(text, type(message)()) == message
    for spelled in (text, json.dumps(json.loads(text), indent=2).encode()):
        assert type(message).FromString(await from_json(spelled, type(message), Turns(), HELD.append)) == message
    members: dict[str, Any] = json.loads(text)
    return members


def submit(*inputs: str, **fields: Any) -> runs_pb2.SubmitRunRequest:
    return runs_pb2.SubmitRunRequest(inputs=[runs_pb2.JsonValue(json=text) for text in inputs], **fields)


@pytest.mark.parametrize("text", ["1152921504606846977", "1e400", "0.10", "-0", json.dumps(HARD), f'"{LONG}"'])
async def test_payloads_are_texts(text: str) -> None:
    members = await both_ways(submit(text, flow_id="f", wait=True))
    assert members == {"flowId": "f", "inputs": [{"json": text}], "wait": True}


async def test_the_order_of_members_and_their_spelling_do_not_matter() -> None:
    for text in (b'{"flow_id":"f","wait":true}', b' { "wait" : true , "flowId" : "\\u0066" } '):
        assert (
            await from_json(text, runs_pb2.SubmitRunRequest, Turns(), HELD.append)
            == submit(flow_id="f", wait=True).SerializeToString()
        )


async def test_many_inputs_are_read_in_turns() -> None:
    message = submit(*(str(index) for index in range(50_000)))
    members = await both_ways(message)
    assert len(members["inputs"]) == 50_000


async def test_long_maps_lists_and_strings_are_read() -> None:
    message = submit("1", LONG, json.dumps(HARD), *(["2"] * 3_000), LONG, flow_id="f")
    message.variables["long"].json = json.dumps(HARD)
    message.variables["é\n"].json = "1"
    for index in range(5_000):
        message.variables[f"v{index}"].json = str(index)
    await both_ways(message)


async def test_long_bytes_are_base64() -> None:
    content = bytes(range(256)) * 2_000
    message = blobs_pb2.PutBlobRequest(binary=content + b"x")
    await both_ways(message)
    text = await to_json(message.SerializeToString(), type(message), Turns(), HELD.append)
    for spelled in (text.replace(b"/", b"\\/"), text.replace(b"=", b""), text.replace(b"+", b"-").replace(b"/", b"_")):
        assert await from_json(spelled, type(message), Turns(), HELD.append) == message.SerializeToString()
    for wrong in (b"A" * LONG_TEXT + b"=AAA", b"*" * LONG_TEXT, b"A" * (LONG_TEXT + 1), b"AA==" * LONG_TEXT):
        with pytest.raises(InvalidParams, match="base64"):
            await from_json(b'{"binary":"%b"}' % wrong, type(message), Turns(), HELD.append)


async def test_values_are_read_in_turns() -> None:
    values = [1, -0.5, None, True, "é\n", [], {}, {"a": [1, {"b": LONG}], "": 2**60}, list(range(40_000)), LONG]
    values.append({f"k{index}": [index, HARD] for index in range(3)})
    for value in values:
        text = json.dumps({"inputs": [{"value": value}, {"value": 1}], "flowId": "f"})
        data = await from_json(text.encode(), runs_pb2.SubmitRunRequest, Turns(), HELD.append)
        assert runs_pb2.SubmitRunRequest.FromString(data) == json_format.Parse(text, runs_pb2.SubmitRunRequest())
        written = json.loads(await to_json(data, runs_pb2.SubmitRunRequest, Turns(), HELD.append))
        assert written["inputs"][0]["value"] == value


@pytest.mark.parametrize("value", [[[[1]]] * 7_000, [{}] * 14_000, {"a": [[]] * 9_000}, ["[" * 20_000, "{" * 20_000]])
async def test_many_brackets_are_read_in_turns_in_short_texts_as_well(value: Any) -> None:
    text = json.dumps({"inputs": [{"value": value}]}, separators=(",", ":")).encode()
    assert len(text) < LONG_TEXT
    turns = Turns()
    data = await from_json(text, runs_pb2.SubmitRunRequest, turns, HELD.append)
    assert data == json_format.Parse(text, runs_pb2.SubmitRunRequest()).SerializeToString(deterministic=True)
    assert turns.number > 5


async def test_the_members_of_a_long_object_are_read_in_turns() -> None:
    value = {f"k{index}": "v" * 20 for index in range(9_900)}
    text = json.dumps({"inputs": [{"value": value}]}).encode()
    turns = Turns()
    message = runs_pb2.SubmitRunRequest.FromString(await from_json(text, runs_pb2.SubmitRunRequest, turns, HELD.append))
    assert dict(message.inputs[0].value.struct_value) == value
    assert turns.number > 2 * len(value)


async def test_a_message_in_parts_is_one() -> None:
    first = runs_pb2.GetRunResponse(revision=1)
    first.run.run_id = LONG
    second = runs_pb2.GetRunResponse()
    second.run.results.add(item_index=3).value.json = LONG
    data = first.SerializeToString() + second.SerializeToString()
    text = await to_json(data, runs_pb2.GetRunResponse, Turns(), HELD.append)
    assert json_format.Parse(text, runs_pb2.GetRunResponse()) == runs_pb2.GetRunResponse.FromString(data)


REFUSED: dict[str, dict[str, Any]] = {
    "no such field": {"absent": 1},
    "is set as well": {"flowId": "a", "flow_id": "b"},
    "expected a string": {"flowId": 1},
    "expected true or false": {"wait": "true"},
    "expected an array": {"inputs": {}},
    "expected an object": {"inputs": [1]},
    "'json' is set as well": {"inputs": [{"json": "1", "value": 1}]},
}


@pytest.mark.parametrize("described", REFUSED)
@pytest.mark.parametrize("long", [False, True])
async def test_what_is_no_message_is_refused_with_its_place(described: str, long: bool) -> None:
    members = REFUSED[described] | ({"observability": {}, "flowLabel": LONG} if long else {})
    with pytest.raises(InvalidParams, match=described) as raised:
        await from_json(json.dumps(members).encode(), runs_pb2.SubmitRunRequest, Turns(), HELD.append)
    [violation] = raised.value.violations
    assert violation.path[0] in {"absent", "flow_id", "wait", "inputs"}


@pytest.mark.parametrize("text", ["3s", "-1.5s", "0.000000001s", "315576000000s"])
async def test_durations_are_texts(text: str) -> None:
    members = await both_ways(
        runs_pb2.GetRunRequest.FromString(
            await from_json(b'{"timeout":"%b"}' % text.encode(), runs_pb2.GetRunRequest, Turns(), HELD.append)
        )
    )
    assert float(members["timeout"][:-1]) == float(text[:-1])


@pytest.mark.parametrize("value", ["", "s", "1", "1_0s", " 1s", "1.9e999s", "٣s", "1.s", ".5s", "9" * 21 + "s", 1, {}])
async def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(InvalidParams, match=r"expected a string like '1\.5s'"):
        await from_json(json.dumps({"timeout": value}).encode(), runs_pb2.GetRunRequest, Turns(), HELD.append)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"timeout": "315576000001s"}, "expected a duration of at most 315576000000s"),
        ({"timeout": "999999999999s"}, "expected a duration of at most 315576000000s"),
        ({"timeout": "9" * 20 + "s"}, "expected a duration of at most 315576000000s"),
        ({"filter": {"createdAfter": "2026-02-30T12:00:00Z"}}, "expected a time that exists, in the years 1 to 9999"),
        ({"filter": {"createdAfter": "0000-01-01T00:00:00Z"}}, "expected a time that exists, in the years 1 to 9999"),
        ({"filter": {"createdAfter": "0001-01-01T00:00:00+01:00"}}, "expected a time that exists"),
    ],
)
async def test_what_has_the_form_and_cannot_be_is_refused_for_that(members: dict[str, object], told: str) -> None:
    kind = runs_pb2.GetRunRequest if "timeout" in members else runs_pb2.ListRunsRequest
    with pytest.raises(InvalidParams, match=told):
        await from_json(json.dumps(members).encode(), kind, Turns(), HELD.append)


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00.9e999Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00-24:00",
        "2026-01-31T12:00:00+01:60",
        1,
    ],
)
async def test_what_is_no_time_is_refused(value: object) -> None:
    members = {"filter": {"createdAfter": value}}
    with pytest.raises(InvalidParams, match="expected a string like '2026-01-31T12:00:00Z'"):
        await from_json(json.dumps(members).encode(), runs_pb2.ListRunsRequest, Turns(), HELD.append)


@pytest.mark.parametrize("value", [1, True, None, [1], [[LONG]], [{"absent": LONG}], [{"json": [LONG]}], ["1", LONG]])
async def test_a_long_message_tells_the_place_in_arrays(value: object) -> None:
    for members in ({"flowLabel": LONG, "inputs": [{"json": "1"}] * 5_000 + [value]},):
        with pytest.raises(InvalidParams) as raised:
            await from_json(json.dumps(members).encode(), runs_pb2.SubmitRunRequest, Turns(), HELD.append)
        assert raised.value.violations[0].path[:2] == ("inputs", 5_000)


@pytest.mark.parametrize(
    "text",
    [
        b'{"flowId":"%b"' % LONG.encode(),
        b'{"flowId":"%b\\ud800"}' % LONG.encode(),
        b'{"flowId":"%b",}' % LONG.encode(),
        b"[" * 100_000,
        b'{"flowId":"%b"} 1' % LONG.encode(),
    ],
)
async def test_a_long_text_that_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await from_json(text, runs_pb2.SubmitRunRequest, Turns(), HELD.append)


@pytest.mark.parametrize("text", [b"x\xff", b"x" * LONG_TEXT + b"\xff", b"\x80" * 2 * LONG_TEXT])
async def test_bytes_that_are_no_utf_8_are_refused(text: bytes) -> None:
    with pytest.raises((InvalidRequest, InvalidParams)):
        await from_json(b'{"flowId":"%b"}' % text, runs_pb2.SubmitRunRequest, Turns(), HELD.append)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=3), inside, max_size=4),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=5), st.integers(0, 3), st.text(), st.binary(max_size=50), st.booleans())
async def test_any_message_goes_both_ways(values: list[Any], place: int, text: str, data: bytes, long: bool) -> None:
    message = submit(*(msgspec.json.encode(value).decode() for value in values), flow_id=text)
    for value in values:
        json_format.ParseDict(value, message.inputs.add().value)
    if long:
        message.inputs.insert(place, runs_pb2.JsonValue(json=text * 3 + LONG))
    await both_ways(message)
    await both_ways(blobs_pb2.PutBlobRequest(binary=data * (LONG_TEXT if long else 1)))
