"""Nodes of YAML: long documents are read by the parser in C, and both readers say the same."""

import re

import pytest
import yaml

from gateway.core import yaml_nodes
from gateway.core.yaml_json import yaml_to_json
from gateway.core.yaml_nodes import LONGEST_READ_TWICE, composed

TEXTS = [
    "output: {$input: $}",
    "a:\n  - b\n  -\n",
    "- &a {k: 1}\n- *a",
    "a: |\n  x\n  y\n",
    "b: >-\n  é\n  ☃\n",
    "'é': \"\\n\"\nx: !!str 12",
    "{b: 1, a: [x, {}, []], 3: ~, true: 0, e: -.5e3}",
    "",
]
needs_c = pytest.mark.skipif(not yaml.__with_libyaml__, reason="the YAML package has no parser in C here")


def described(node: yaml.Node | None) -> object:
    """A node and all inside it, with their places."""
    if node is None:
        return None
    inner = [each for child in node.value for each in (child if isinstance(child, tuple) else (child,))]
    value = node.value if isinstance(node, yaml.ScalarNode) else [described(each) for each in inner]
    return node.tag, node.start_mark.line, node.start_mark.column, value


@pytest.mark.parametrize("text", TEXTS)
def test_nodes_are_those_of_the_parser_in_python(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = described(composed(text))
    monkeypatch.setattr("yaml.__with_libyaml__", False)
    assert described(composed(text)) == found


@needs_c
def test_a_long_document_is_read_once_by_the_parser_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_nodes, "_slowly", None)
    members = "".join(f"  k{number}: 0\n" for number in range(50_000))
    assert yaml_to_json(f"output:\n{members}").count("k") == 50_000
    with pytest.raises(ValueError, match=r"^line 50003, column 1: did not find expected node content"):
        composed(f"output:\n{members}a: [\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- " * 10_000, "nested too deeply"),
        ("{a: " * 10_000, "nested too deeply"),
        (r'"\Uffffffff"', "an escape or a version that is out of range"),
        ("\0", re.escape("the character U+0000 is not allowed in YAML")),
    ],
)
def test_hostile_ends_of_long_documents_have_their_words(text: str, message: str) -> None:
    before = f"- {'x' * LONGEST_READ_TWICE}\n- "
    with pytest.raises(ValueError, match=rf"^line 2, column \d+: {message}"):
        composed(before + text)


def test_a_pair_of_escaped_surrogates_is_a_character_however_long_the_document_is() -> None:
    assert yaml_to_json(f'- {"x" * LONGEST_READ_TWICE}\n- "\\ud83d\\ude00"').endswith(',"\U0001f600"]')
