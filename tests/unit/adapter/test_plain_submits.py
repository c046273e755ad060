import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.adapter.jsonrpc import Request, parse_body
from gateway.adapter.params_json import submit_params_from_json
from gateway.adapter.plain_submits import read_plain_submit
from gateway.core.model import SubmitParams

PLAIN = (
    '{"jsonrpc":"2.0","id":1,"method":"runs/submit","params":{"flowId":"f","inputs":[ 1.0 ,{"a": "é"}],"wait":true}}'
)


def submit(**members: Any) -> str:
    """The text of a submit; a member of which the value is ... is left out."""
    given = {"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": {"flowId": "f", "inputs": []}, **members}
    return json.dumps({name: value for name, value in given.items() if value is not ...})


def test_the_texts_stay_as_they_are() -> None:
    expected = SubmitParams(flow_id="f", inputs=["1.0", '{"a": "é"}'], wait=True)
    assert read_plain_submit(PLAIN.encode()) == Request("1", "runs/submit", expected)


@pytest.mark.parametrize("request_id", ["1", "1.0", "-1e3", '"a"', '"\\u00e9"', "null"])
def test_ids_are_as_they_came(request_id: str) -> None:
    call = read_plain_submit(PLAIN.replace('"id":1', f'"id": {request_id} ').encode())
    assert call is not None
    assert call.id == request_id


def test_a_notification_has_no_id() -> None:
    call = read_plain_submit(submit(id=...).encode())
    assert call is not None
    assert call.id is None


@pytest.mark.parametrize(
    "body",
    [
        submit(jsonrpc="1.0"),
        submit(jsonrpc=...),
        submit(id=[1]),
        submit(id={}),
        submit(id=True),
        submit(method="runs/get"),
        submit(method="runs\\submit"),
        submit(extra=1),
        submit(params=...),
        submit(params=None),
        submit(params=[]),
        submit(params={"flowId": "f"}),
        submit(params={"flowId": "", "inputs": []}),
        submit(params={"flowId": 1, "inputs": []}),
        submit(params={"flowId": "f", "inputs": {}}),
        submit(params={"flowId": "f", "inputs": [], "wait": None}),
        submit(params={"flowId": "f", "inputs": [], "wait": 1}),
        submit(params={"flowId": "f", "inputs": [], "overrides": {}}),
        submit(params={"flowId": "f", "inputs": [], "own": 1}),
        f"[{PLAIN}]",
        PLAIN + "x",
        PLAIN[:-1],
        PLAIN.replace("1.0", "[" * 200_000 + "]" * 200_000),
        "",
    ],
)
def test_everything_else_is_read_as_other_calls_are(body: str) -> None:
    assert read_plain_submit(body.encode()) is None


@pytest.mark.parametrize("broken", [b'"a\xff"', b'"\\ud800"', b"01", b"NaN"])
def test_inputs_that_are_no_json_are_left_to_others(broken: bytes) -> None:
    assert read_plain_submit(PLAIN.encode().replace(b"1.0", broken)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    inputs=st.lists(JSON, max_size=3),
    wait=st.sampled_from([..., True, False]),
    request_id=st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | st.none(),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_it_is_read_like_any_other_call(
    inputs: list[Any], wait: Any, request_id: Any, ascii_only: bool, indent: int | None
) -> None:
    params = {"flowId": "f", "inputs": inputs, **({} if wait is ... else {"wait": wait})}
    call = {"jsonrpc": "2.0", "id": request_id, "method": "runs/submit", "params": params}
    try:
        body = json.dumps(call, ensure_ascii=ascii_only, indent=indent).encode()
    except UnicodeEncodeError:
        return
    plain, general = read_plain_submit(body), parse_body(body)
    assert isinstance(general, Request)
    if plain is not None:
        assert isinstance(plain.params, SubmitParams)
        read = submit_params_from_json(general.params)
        assert plain == Request(general.id, general.method, replace(read, inputs=list(read.inputs)))
