"""Where parts of a flow stand in its file, as JSON or as YAML."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gateway.cli.documents import FlowDocument
from gateway.core.errors import Path
from gateway.core.json_layout import at_once
from gateway.core.json_place import line_and_column
from gateway.flows.look_up import Places

if TYPE_CHECKING:
    import yaml


class Place(NamedTuple):
    """Both are counted from 1."""

    line: int
    column: int


def places_of(document: FlowDocument, paths: Sequence[Path]) -> list[Place]:
    """Where the values at these paths begin. For one that is not there, it is the innermost value around it."""
    return _in_yaml(document.source, paths) if document.is_yaml else _in_json(document.source, paths)


def _in_json(source: str, paths: Sequence[Path]) -> list[Place]:
    text = source.strip(" \t\n\r")
    before = source.index(text)
    places = Places(text)
    at_once(places.look_up({path[:length] for path in paths for length in range(len(path) + 1)}))
    found = []
    for path in paths:
        known = (places.found[path[:length]] for length in range(len(path), -1, -1))
        start = next((place[0] for place in known if place is not None), 0)
        found.append(Place(*line_and_column(source, before + start)))
    return found


def _in_yaml(source: str, paths: Sequence[Path]) -> list[Place]:
    from gateway.core.yaml_nodes import composed

    root = composed(source)
    assert root is not None
    return [_innermost(root, path) for path in paths]


def _innermost(node: "yaml.Node", path: Path) -> Place:
    for key in path:
        inner = _child(node, key)
        if inner is None:
            break
        node = inner
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _child(node: "yaml.Node", key: str | int) -> "yaml.Node | None":
    """The member or the element with this key, if there is one."""
    import yaml

    match node, key:
        case yaml.SequenceNode(), int() if key < len(node.value):
            element: yaml.Node = node.value[key]
            return element
        case yaml.MappingNode(), str():
            return next((value for name, value in node.value if name.value == key), None)
    return None
