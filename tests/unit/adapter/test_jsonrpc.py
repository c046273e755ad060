import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.adapter.jsonrpc import (
    MAX_BATCH,
    Batch,
    Refused,
    Request,
    error_message,
    error_response,
    parse_body,
    parse_error,
    parse_response,
    request,
    response,
)
from gateway.core import errors
from gateway.core.errors import GatewayError, InvalidParams, InvalidRequest, ParseError, RemoteError, Violation
from gateway.core.json_text import json_text
from tests.support import messages

CALL = '{"jsonrpc":"2.0","id":1,"method":"m"}'


@pytest.mark.parametrize(
    ("body", "call"),
    [
        (CALL, Request("1", "m", None)),
        ('{"jsonrpc":"2.0","method":"m","params":{"a":1e400}}', Request(None, "m", '{"a":1e400}')),
        ('{"id":null,"jsonrpc":"2.0","method":"m","params":null}', Request("null", "m", None)),
        (
            '{"jsonrpc":"2.0","id":"\\u0061 ","method":"runs\\/get","params":[1]}',
            Request('"\\u0061 "', "runs/get", "[1]"),
        ),
        (
            '{"jsonrpc":"2.0","id":-123456789012345678901234567890,"method":""}',
            Request("-123456789012345678901234567890", "", None),
        ),
        (' {"jsonrpc":"2.0","id":1,"method":"m","params":7,"extra":true}\n', Request("1", "m", "7")),
    ],
)
def test_requests(body: str, call: Request) -> None:
    assert parse_body(body) == call
    assert parse_body(body.encode()) == call


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        ("1", "null"),
        ("null", "null"),
        ('"x"', "null"),
        ("{}", "null"),
        ('{"jsonrpc":"2.0","id":1}', "1"),
        ('{"jsonrpc":"2.0","id":"a","method":1}', '"a"'),
        ('{"jsonrpc":"1.0","id":1,"method":"m"}', "1"),
        ('{"jsonrpc":2.0,"id":1,"method":"m"}', "1"),
        ('{"id":1,"method":"m"}', "1"),
        *((f'{{"jsonrpc":"2.0","id":{bad},"method":"m"}}', "null") for bad in ("true", "false", "[]", "[1]", "{}")),
        ('{"jsonrpc":"2.0","id":1,"result":{}}', "1"),
    ],
)
def test_what_is_no_request_is_answered(body: str, request_id: str) -> None:
    call = parse_body(body)
    assert isinstance(call, Refused)
    assert call.id == request_id
    answer = json.loads(error_response(call.id, call.error))
    assert (answer["error"]["code"], answer["error"]["data"]["reason"]) == (-32600, "INVALID_REQUEST")


numbers = st.one_of(
    st.integers().map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,40})([.][0-9]{1,20})?([eE][+-]?[0-9]{1,6})?", fullmatch=True),
)
strings = st.builds(
    lambda text, ascii_only: json.dumps(text, ensure_ascii=ascii_only),
    st.text(st.characters(codec="utf-8")),
    st.booleans(),
)


@given(st.just("null") | numbers | strings)
@example("1.0")
@example("1e3")
@example("-0.0E-0")
@example("1e999999")
@example("9" * 5_000)
@example(r'"\u0000\ud83d\ude00\/\b"')
@example('""')
def test_any_id_is_echoed_as_it_came(request_id: str) -> None:
    call = parse_body(f'{{"id": {request_id} ,"method":"m","jsonrpc":"2.0"}}'.encode())
    assert call == Request(request_id, "m", None)
    batch = parse_body(f'[{{"jsonrpc":"2.0","id":{request_id}}}, {{"jsonrpc":"2.0","id":{request_id},"method":"m"}}]')
    assert isinstance(batch, Batch)
    assert [call.id for call in batch.calls] == [request_id, request_id]
    assert f'"id":{request_id},' in error_response(request_id, InvalidRequest("x"))
    assert f'"id":{request_id},' in response(request_id, "{}")
    assert parse_response(response(request_id, "{}"), request_id) == "{}"


def test_a_wrong_member_of_a_batch_gets_its_own_answer() -> None:
    batch = parse_body(f"[{CALL}, 1, {CALL}]")
    assert isinstance(batch, Batch)
    assert [type(call) for call in batch.calls] == [Request, Refused, Request]


def test_batches_are_bounded() -> None:
    with pytest.raises(InvalidRequest):
        parse_body("[]")
    full = parse_body(f"[{','.join([CALL] * MAX_BATCH)}]")
    assert isinstance(full, Batch)
    assert len(full.calls) == MAX_BATCH
    with pytest.raises(InvalidRequest):
        parse_body(f"[{','.join([CALL] * (MAX_BATCH + 1))}]")


@pytest.mark.parametrize(
    "body", ["", "{", "nope", "[1,]", CALL + CALL, b"\xff", '{"a":NaN}', '["\\ud800"]', "[" * 100_000]
)
def test_what_is_no_json(body: str | bytes) -> None:
    with pytest.raises(ParseError):
        parse_body(body)


hostile = st.one_of(
    st.binary(),
    st.text().map(lambda text: text.encode()),
    messages.json_texts.map(lambda text: text.encode()),
    st.builds(
        lambda members: json.dumps(members).encode(),
        st.fixed_dictionaries(
            {},
            optional={
                name: st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.just("2.0") | st.integers()
                for name in ("jsonrpc", "id", "method", "params")
            },
        ),
    ),
)


@settings(max_examples=3 * settings().max_examples)
@given(hostile | st.lists(hostile, max_size=3).map(lambda parts: b"[" + b",".join(parts) + b"]"))
def test_any_body_is_answered(body: bytes) -> None:
    try:
        parsed = parse_body(body)
    except (ParseError, InvalidRequest) as error:
        parsed = Refused("null", error)
    for call in parsed.calls if isinstance(parsed, Batch) else [parsed]:
        if isinstance(call, Refused):
            assert json.loads(error_response(call.id, call.error))["error"]["code"] in (-32700, -32600)
        elif call.id is not None:
            assert json.loads(response(call.id, "{}"))["jsonrpc"] == "2.0"


@settings(max_examples=3 * settings().max_examples)
@given(hostile)
def test_any_response_is_a_result_or_an_error(body: bytes) -> None:
    try:
        answer = response("1", parse_response(body))
    except GatewayError as error:
        answer = error_response("1", error)
    assert json_text(answer) == answer


def test_writes() -> None:
    assert (
        request('"a"', "runs/get", '{"x":1e400}')
        == '{"jsonrpc":"2.0","id":"a","method":"runs/get","params":{"x":1e400}}'
    )
    assert response("7", "-0.0") == '{"jsonrpc":"2.0","id":7,"result":-0.0}'
    assert parse_body(request("1", 'a"b', "{}")) == Request("1", 'a"b', "{}")
    assert parse_response(response("1", '{"b":1,"a":1e400}')) == '{"b":1,"a":1e400}'
    assert parse_response('{"jsonrpc":"2.0","id":1,"result":null,"error":null}') == "null"


def test_bad_parameters_are_named_as_json_spells_them() -> None:
    error = InvalidParams(
        [
            Violation(("max_concurrency",), "too low"),
            Violation(("timeout",), "negative"),
            Violation(("idempotency_key",), "empty"),
            Violation(("variables", "flow_id"), "wrong"),
            Violation(("observability", "trace_id"), "no string"),
            Violation(("inputs", 3), "odd"),
            Violation((), "expected an object"),
        ]
    )
    answer = json.loads(error_response('"x"', error))
    assert answer["id"] == "x"
    assert answer["error"]["code"] == -32602
    assert answer["error"]["message"].startswith("maxConcurrency: too low; timeoutSecs: negative; ")
    assert answer["error"]["data"]["reason"] == "INVALID_PARAMS"
    assert [violation["field"] for violation in answer["error"]["data"]["violations"]] == [
        "maxConcurrency",
        "timeoutSecs",
        "subflowKey",
        "variables.flow_id",
        "observability.trace_id",
        "inputs[3]",
        "",
    ]


def test_paths_inside_a_flow_are_those_of_the_flow() -> None:
    error = errors.InvalidFlow.field("flow_id", 0, description="odd")
    assert error_message(error) == "flow_id[0]: odd"


def read_back(error: GatewayError) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        parse_response(error_response("1", error))
    return caught.value


violations = st.builds(
    Violation,
    st.sampled_from([("flow_id",), ("inputs", 3), ("inputs", 3, "json"), ("timeout",), ("variables", "flow_id"), ()]),
    st.text(),
)


@given(
    st.lists(violations, min_size=1, max_size=3),
    st.sampled_from([errors.InvalidParams, errors.InvalidFlow, errors.InvalidRunId]),
)
def test_bad_parameters_there_and_back(named: list[Violation], kind: type[InvalidParams]) -> None:
    error = kind(named)
    received = read_back(error)
    assert type(received) is kind
    assert received.violations == error.violations
    assert error_response("1", received) == error_response("1", error)


@given(st.integers(-(2**63), 2**63 - 1), st.text(), st.none() | messages.json_texts)
def test_remote_errors_there_and_back(code: int, message: str, data: str | None) -> None:
    received = read_back(RemoteError(code, message, data=data))
    assert (received.jsonrpc_code, received.message, received.data) == (code, message, data)


def test_when_to_try_again_is_kept() -> None:
    received = read_back(errors.Overloaded("busy", retry_after=1.5))
    assert (type(received), received.retry_after) == (errors.Overloaded, 1.5)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "1",
        "[]",
        "{}",
        '{"error":null}',
        '{"error":1}',
        '{"error":{}}',
        '{"error":{"code":"x","message":"m"}}',
        '{"error":{"code":1.5,"message":"m"}}',
        '{"error":{"code":1}}',
        '{"error":{"code":1,"message":null}}',
        '{"result":NaN}',
        "[" * 100_000,
    ],
)
def test_an_answer_that_is_none(body: str) -> None:
    with pytest.raises(RemoteError, match="no JSON-RPC response") as caught:
        parse_response(body)
    assert caught.value.jsonrpc_code == -32603


@pytest.mark.parametrize(
    "data",
    [
        "1",
        '{"reason":1}',
        '{"reason":"INVALID_PARAMS","violations":1}',
        '{"reason":"INVALID_PARAMS","violations":[1]}',
        '{"reason":"INVALID_PARAMS","violations":[{"field":1,"description":"d"}]}',
        '{"reason":"INVALID_PARAMS","violations":[],"retryAfterSecs":"x"}',
    ],
)
def test_data_of_other_servers_is_kept_as_it_is(data: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":1,"error":{{"code":-32602,"message":"m","data":{data}}}}}'
    with pytest.raises(InvalidParams) as caught:
        parse_response(body)
    assert error_response("1", caught.value) == body


def test_an_answer_must_be_that_to_the_request() -> None:
    assert parse_response(response("7", "1"), "7") == "1"
    for wrong in ('"7"', "8", "null"):
        with pytest.raises(RemoteError, match="id: not that of the request"):
            parse_response(response(wrong, "1"), "7")
    with pytest.raises(ParseError):
        parse_response(error_response(None, ParseError("not JSON")), "7")


def test_an_error_is_told_from_other_answers() -> None:
    assert isinstance(parse_error(error_response("1", ParseError("not JSON"))), ParseError)
    for other in (response("1", "1"), "<html>", "{}", '{"error":{"code":404,"message":"m"}}'):
        assert parse_error(other) is None
