"""Translates YAML to JSON text by the core schema of YAML 1.2: numbers keep their digits, dates are strings."""

import json
import re
from collections.abc import Iterable, Iterator

import yaml
from yaml.reader import ReaderError

from gateway.core.errors import shortened
from gateway.core.json_place import place_of

MAX_JSON_CHARS = 64 << 20
"""How much JSON a document may become. With aliases, a small document can describe an enormous value."""

_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT, _STR = f"{_TAG}null", f"{_TAG}bool", f"{_TAG}int", f"{_TAG}float", f"{_TAG}str"
_SEQ, _MAP = f"{_TAG}seq", f"{_TAG}map"

_SCALARS = {
    _NULL: re.compile(r"~|null|Null|NULL|", re.ASCII),
    _BOOL: re.compile(r"true|True|TRUE|false|False|FALSE"),
    _INT: re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    _FLOAT: re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
_DECIMAL = re.compile(r"([-+]?)0*([0-9]*)(?:\.([0-9]*))?(?:([eE][-+]?[0-9]+))?")


class EmptyYamlError(ValueError):
    """The text has no document: nothing, or comments only."""


class _Loader(yaml.SafeLoader):
    """Composes nodes with the tags of the core schema instead of those of YAML 1.1."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


for _tag, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern.pattern})\Z"), None)


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


def composed(text: str) -> yaml.Node | None:
    """The nodes of the document. Raises ValueError, in words of our own where the package has those of Python."""
    try:
        loader = _Loader(text)
    except ReaderError as error:
        problem = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise ValueError(f"{place_of(text, error.position)}: {problem}") from None
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        # What begins so goes on with what was expected.
        began = f"{error.context} " if str(error.problem).startswith("but ") else ""
        raise ValueError(f"{_place(error.problem_mark)}: {began}{error.problem}") from None
    except RecursionError:
        raise ValueError(f"{_place(loader.get_mark())}: nested too deeply") from None
    except (ValueError, OverflowError):
        raise ValueError(f"{_place(loader.get_mark())}: an escape or a version that is out of range") from None
    finally:
        loader.dispose()


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
        case yaml.SequenceNode(tag=tag) if tag == _SEQ:
            text = f"[{','.join(_bounded(_render(item, rendered) for item in node.value))}]"
        case yaml.MappingNode(tag=tag) if tag == _MAP:
            members = (f"{_string(key)}:{_render(value, rendered)}" for key, value in _members(node))
            text = f"{{{','.join(_bounded(members))}}}"
        case _:
            raise _refusal(node, f"JSON has no {node.tag}")
    rendered[node] = text
    return text


def _bounded(parts: Iterable[str]) -> Iterator[str]:
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_JSON_CHARS:
            raise ValueError(f"the document is more than {MAX_JSON_CHARS} characters of JSON")
        yield part


def _members(node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refusal(key, "a key must be a string")
        if key.value in seen:
            raise _refusal(key, f"the key {shortened(key.value)!r} is given twice")
        seen.add(key.value)
        yield key, value


def _scalar(node: yaml.ScalarNode) -> str:
    tag, text = node.tag, node.value
    if tag == _STR:
        return _string(node)
    if tag not in _SCALARS:
        raise _refusal(node, f"JSON has no {tag}")
    if not _SCALARS[tag].fullmatch(text):
        raise _refusal(node, f"{shortened(text)!r} is no {tag.removeprefix(_TAG)}")
    if tag == _NULL:
        return "null"
    if tag == _BOOL:
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
    return ValueError(f"{_place(node.start_mark)}: {reason}")


def _place(mark: yaml.Mark | None) -> str:
    """The line and column of a mark, counted from 1."""
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "line 1, column 1"
