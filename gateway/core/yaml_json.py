"""Translates YAML to JSON text by the core schema of YAML 1.2: numbers keep their digits, dates are strings."""

import json
import re
from collections.abc import Iterable, Iterator

import yaml

from gateway.core.errors import shortened
from gateway.core.yaml_nodes import BOOL, MAP, NULL, SCALARS, SEQ, STR, TAG, composed, place_in_words

MAX_JSON_CHARS = 64 << 20
"""How much JSON a document may become. With aliases, a small document can describe an enormous value."""

MERGE_KEY = "<<"

_DECIMAL = re.compile(r"([-+]?)0*([0-9]*)(?:\.([0-9]*))?(?:([eE][-+]?[0-9]+))?")


class EmptyYamlError(ValueError):
    """The text has no document: nothing, or comments only."""


def yaml_to_json(text: str) -> str:
    """Translate the one document in `text`.

    Raises EmptyYamlError if there is none. Raises ValueError, which names the line, if the text is not YAML or has a
    value that JSON does not have.
    """
    node = composed(text)
    if node is None:
        raise EmptyYamlError("the document is empty")
    try:
        return _render(node, {})
    except RecursionError:
        raise _refusal(node, "nested too deeply") from None


def _render(node: yaml.Node, rendered: dict[yaml.Node, str | None]) -> str:
    """The JSON of a node. `rendered` has that of earlier nodes, which aliases repeat, and None for enclosing nodes."""
    if node in rendered:
        known = rendered[node]
        if known is None:
            raise _refusal(node, "a value contains itself")
        return known
    rendered[node] = None
    match node:
        case yaml.ScalarNode():
            text = _scalar(node)
        case yaml.SequenceNode(tag=tag) if tag == SEQ:
            text = f"[{','.join(_bounded(node, (_render(item, rendered) for item in node.value)))}]"
        case yaml.MappingNode(tag=tag) if tag == MAP:
            members = (f"{_string(key)}:{_render(value, rendered)}" for key, value in _members(node))
            text = f"{{{','.join(_bounded(node, members))}}}"
        case _:
            raise _refusal(node, f"JSON has no {node.tag}")
    rendered[node] = text
    return text


def _bounded(node: yaml.Node, parts: Iterable[str]) -> Iterator[str]:
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_JSON_CHARS:
            raise _refusal(node, f"a value of more than {MAX_JSON_CHARS:,} characters of JSON")
        yield part


def _members(node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refusal(key, "a key must be a string")
        if key.value in seen:
            raise _refusal(key, f"the key {shortened(key.value)!r} is given twice")
        if key.value == MERGE_KEY and key.style in {None, ""}:
            # Readers of YAML 1.1 put the members of the value here. Nobody who writes it means a member of this name.
            raise _refusal(
                key, "YAML 1.2 has no merge keys: give the members themselves, or quote '<<' if it is a name"
            )
        seen.add(key.value)
        yield key, value


def _scalar(node: yaml.ScalarNode) -> str:
    tag, text = node.tag, node.value
    if tag == STR:
        return _string(node)
    if tag not in SCALARS:
        raise _refusal(node, f"JSON has no {tag}")
    if not SCALARS[tag].fullmatch(text):
        raise _refusal(node, f"{shortened(text)!r} is no {tag.removeprefix(TAG)}")
    if tag == NULL:
        return "null"
    if tag == BOOL:
        return str(text.lower())
    if text[:2] in {"0x", "0o"}:
        try:
            return str(int(text, 0))
        except ValueError:
            # The time that Python takes for it grows with the square of its length.
            raise _refusal(node, "a hexadecimal or octal number that is too long; a decimal is not") from None
    number = _DECIMAL.fullmatch(text)
    if number is None:
        raise _refusal(node, f"JSON has no {text}")
    sign, whole, fraction, exponent = number.groups(default="")
    # JSON has no plus sign, no leading zeros, and no point without digits on both sides.
    return f"{sign.replace('+', '')}{whole or '0'}{'.' + fraction if fraction else ''}{exponent}"


def _string(node: yaml.ScalarNode) -> str:
    try:
        # A pair of escaped surrogates is one character; a lone one is not a character.
        text = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _refusal(node, "a string holds a lone surrogate") from None
    return json.dumps(text, ensure_ascii=False)


def _refusal(node: yaml.Node, reason: str) -> ValueError:
    return ValueError(f"{place_in_words(node.start_mark)}: {reason}")
