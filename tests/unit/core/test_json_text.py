import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core import json_text as module
from gateway.core.errors import InvalidParams, TooLarge
from gateway.core.json_text import boolean, elements, integer, json_text, members, number, object_text, quote, string
from tests.support import messages

LONE_SURROGATES = [
    '"\\ud800"',
    '"\\uDFFF "',
    '{"a":["\\ud83dx"]}',
    '"\\ude00\\ud83d"',
    '{"\\udc00":1}',
    '"\\\\\\ud800"',
]


def refuse_constant(name: str) -> Any:
    raise ValueError(name)


def is_json(text: str) -> bool:
    """What the standard library takes, without its three extensions: NaN and the like, and lone surrogates."""
    try:
        value = json.loads(text, parse_constant=refuse_constant, parse_int=float)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def accepted(text: str) -> bool:
    try:
        json_text(text)
    except InvalidParams:
        return False
    return True


json_like = st.lists(
    st.sampled_from([*'{}[],:"\\01-.e+aé/ \n\t\f\x00\ufeff', r"\u", "d800", "dc00", r"\ud83d\ude00", '"a"', '"a":'])
    | st.sampled_from(["true", "null", "NaN", "Infinity"]),
    max_size=12,
).map("".join)


@settings(max_examples=5 * settings().max_examples)
@given(json_like | st.text())
@example('"\\ud800"')
@example('"\\\\ud800"')
@example('"\\ud83d\\ude00"')
@example("01")
@example("-0")
def test_accepts_exactly_json(text: str) -> None:
    assert accepted(text) == is_json(text)


@given(messages.json_texts, st.text(" \t\n\r", max_size=3), st.text(" \t\n\r", max_size=3))
def test_keeps_the_text_and_strips_white_space(text: str, before: str, after: str) -> None:
    assert json_text(before + text + after) == text
    assert json_text((before + text + after).encode()) == text


@given(st.binary())
def test_any_bytes_are_refused_or_json(data: bytes) -> None:
    try:
        expected = is_json(data.decode())
    except UnicodeDecodeError:
        expected = False
    try:
        json_text(data)
    except InvalidParams:
        assert not expected
    else:
        assert expected


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("", "the text ends too early"),
        ("[1", "the text ends too early"),
        ("NaN", "invalid character (byte 0)"),
        ("-Infinity", "invalid character (byte 1)"),
        ("1 2", "trailing characters (byte 3)"),
        ("{} x", "trailing characters (byte 4)"),
        (b'"\xff"', "not UTF-8 (byte 1)"),
        ('"\ud800"', "lone surrogate (character 1)"),
        *((text, "lone surrogate") for text in LONE_SURROGATES),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
    ],
)
def test_names_the_field_and_what_is_wrong(text: str | bytes, description: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        json_text(text, "inputs", 3, "json")
    (violation,) = caught.value.violations
    assert violation.path == ("inputs", 3, "json")
    assert description in violation.description


def test_every_surrogate_needs_its_partner() -> None:
    for unit in range(0xD700, 0xE100):
        for text in (f'"\\u{unit:04x}"', f'"\\u{unit:04X} and more"', f'{{"k":["\\u{unit:04x}\\u0041"]}}'):
            assert accepted(text) == (not 0xD800 <= unit <= 0xDFFF), text


def test_five_hundred_levels_are_accepted() -> None:
    text = "[" * 500 + "]" * 500
    assert json_text(text) == text
    assert members(f'{{"a":{text}}}')["a"] == text


@pytest.mark.parametrize("text", ['"' + "x" * 100 + '"', '"' + "é" * 60 + '"', b"[" + b" " * 100 + b"]"])
def test_bounds_the_size_in_bytes(text: str | bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JSON_BYTES", 100)
    with pytest.raises(TooLarge, match=r"inputs\[0\]"):
        json_text(text, "inputs", 0)


def test_slices_are_not_rewritten() -> None:
    assert members(' { "b" : [1,  2] , "a":1e400,"\\u0061":-0.0 } ') == {"b": "[1,  2]", "a": "-0.0"}
    assert list(members('{"z":1,"a":2}')) == ["z", "a"]
    assert elements('[ 1 , {"a": 2}, "é" ]') == ["1", '{"a": 2}', '"é"']


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (string, '"a\\u00e9\\n"', "aé\n"),
        (boolean, "true", True),
        (boolean, "false", False),
        (integer, "-7", -7),
        (integer, "2.0", 2),
        (integer, "1e3", 1000),
        (integer, str(2**64 - 1), 2**64 - 1),
        (integer, str(-(2**63)), -(2**63)),
        (number, "2", 2.0),
        (number, "0.25", 0.25),
        (object_text, "{ }", "{ }"),
        (quote, 'a"é\n\x00', '"a\\"é\\n\\u0000"'),
    ],
)
def test_reads(read: Any, text: str, value: object) -> None:
    result = read(text)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((string, text) for text in ("1", "null", "[]", "true")),
        *((boolean, text) for text in ("1", '"true"', "null")),
        *((integer, text) for text in ("1.5", '"3"', "true", "null", str(2**64), "1e300", "1e400", "9" * 5_000, "[1]")),
        *((integer, text) for text in ("9007199254740994.0",)),
        *((number, text) for text in ("1e400", '"1"', "null", "9" * 400)),
        *((members, text) for text in ("[]", "1", "null", '"{}"')),
        *((elements, text) for text in ("{}", "1", "null", '"[]"')),
        *((object_text, text) for text in ("[]", "1", "null", '"{}"')),
    ],
)
def test_refuses_another_type_and_names_the_field(read: Any, text: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        read(text, "items", 0)
    assert [violation.path for violation in caught.value.violations] == [("items", 0)]


@given(st.text())
def test_quoting(value: str) -> None:
    assert json.loads(quote(value)) == value
    assert string(json_text(quote(value))) == value
