"""YAML to JSON: what it translates exactly, and what it refuses."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.yaml_json import yaml_to_json

CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"])
KEYS = st.text(CHARACTERS, max_size=80)
"""YAML takes keys of 1,024 characters at most, and an escaped character has up to twelve."""

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(CHARACTERS),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1152921504606846977", "1152921504606846977"),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("1e400", "1e400"),
        ("-0.0", "-0.0"),
        ("+12", "12"),
        ("007", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-.5e3", "-0.5e3"),
        ("0x1F", "31"),
        ("0o17", "15"),
        ("~", "null"),
        ("Null", "null"),
        ("TRUE", "true"),
        ("yes", '"yes"'),
        ("on", '"on"'),
        ("2024-01-01", '"2024-01-01"'),
        ("12:30:45", '"12:30:45"'),
        ("1_000", '"1_000"'),
        ("1.2.3", '"1.2.3"'),
        ('"12"', '"12"'),
        ("!!str 12", '"12"'),
        ('!!int "12"', "12"),
        ("'☃ \U0001f600'", '"☃ \U0001f600"'),
        (r'"\ud83d\ude00"', '"\U0001f600"'),
        (r'"a\u2028\t"', '"a\u2028\\t"'),
        ("{b: 1, a: [x, {}, []], 3: ~, true: 0}", '{"b":1,"a":["x",{},[]],"3":null,"true":0}'),
        ("- &a {k: 1}\n- *a", '[{"k":1},{"k":1}]'),
        ("a:\n  - b\n  -\n", '{"a":["b",null]}'),
        ("a: |\n  x\n  y\n", '{"a":"x\\ny\\n"}'),
        ("'<<': {a: 1}", '{"<<":{"a":1}}'),
        ('{"<<": 1}', '{"<<":1}'),
        ("- <<", '["<<"]'),
    ],
)
def test_values_keep_what_they_say(text: str, expected: str) -> None:
    assert yaml_to_json(text) == expected


@given(JSON_VALUES)
def test_any_json_is_yaml_that_means_the_same(value: Any) -> None:
    assert json.loads(yaml_to_json(json.dumps(value))) == value


@given(JSON_VALUES)
def test_what_a_yaml_writer_writes_with_tags_means_the_same(value: Any) -> None:
    # Quoted, every value has its tag. Plain, `0E0` would be a string to a writer of YAML 1.1, and it is a number here.
    assert json.loads(yaml_to_json(yaml.safe_dump(value, allow_unicode=True, default_style='"'))) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the document is empty"),
        ("# only a comment", "the document is empty"),
        ("a: b: c", r"line 1, column \d+: mapping values are not allowed here"),
        ("a: [1,\nb", r"line 2, column \d+: "),
        (
            "a: 1\n--- \nb: 2",
            r"line 2, column \d+: expected a single document in the stream but found",
        ),
        ("a: 1\nb: 2\na: 3", r"line 3, column \d+: the key 'a' is given twice"),
        ("a: 1\n<<: {b: 2}", r"line 2, column 1: YAML 1.2 has no merge keys"),
        ("? [a]\n: 1", r"line 1, column \d+: a key must be a string"),
        ("a: .inf", r"line 1, column \d+: JSON has no \.inf"),
        ("a:\n- .nan", r"line 2, column \d+: JSON has no \.nan"),
        ("!custom x", r"line 1, column \d+: JSON has no !custom"),
        ("!!set {a}", r"line 1, column \d+: JSON has no tag:yaml.org,2002:set"),
        ("!!binary aGk=", r"line 1, column \d+: JSON has no tag:yaml.org,2002:binary"),
        ("!!int x", r"line 1, column \d+: 'x' is no int"),
        (r'"\ud800"', r"line 1, column \d+: a string holds a lone surrogate"),
        ("a: &x [*x]", r"line 1, column \d+: a value contains itself"),
        ("*x", r"line 1, column \d+: found undefined alias"),
        ("\0", r"line 1, column 1: the character U\+0000 is not allowed in YAML"),
        ('b: 1\na: "\0"', r"line 2, column 5: the character U\+0000 is not allowed in YAML"),
        ("a:\n- \ud800", r"line 2, column 3: the character U\+D800 is not allowed in YAML"),
        (f"b: 1\na: 0x{'f' * 9_000}", r"line 2, column 4: a hexadecimal or octal number that is too long"),
        (f"- 0o{'7' * 9_000}", r"line 1, column 3: a hexadecimal or octal number that is too long"),
        (f"%YAML 1.{'9' * 9_000}\n--- a", r"line 1, column \d+: an escape or a version that is out of range"),
        (r'a: "\Uffffffff"', r"line 1, column \d+: an escape or a version that is out of range"),
        (f"a: !!int {'x' * 9_000}", r"line 1, column 4: 'x{97}\.\.\.' is no int"),
        ("[" * 100_000, r"line 1, column \d+: nested too deeply"),
        (f'{{"{"k" * 1_025}": 1}}', r"line 1, column \d+: "),
    ],
)
def test_what_json_cannot_say_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^(?:{message})"):
        yaml_to_json(text)


def test_aliases_do_not_make_it_endless() -> None:
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    with pytest.raises(ValueError, match="a value of more than"):
        yaml_to_json("\n".join(lines))
