"""JSON texts of any spelling, for properties, and the plainest way to find a part of one."""

import json
from typing import Any

from hypothesis import strategies as st

_SPACE = st.sampled_from(["", "", " ", "\n\t "])
_NAMES = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"k\\"{"', '""', '"é"', '"😀"', '"$input"', '"0"'])
_SCALARS = st.sampled_from(
    [
        "0",
        "-1.5e3",
        "1e400",
        "null",
        "true",
        '"a"',
        '""',
        '"x\\"y"',
        '"\\\\"',
        '"[{"',
        '"é\\u0041"',
        '"' + "z" * 40 + '"',
    ]
)


def _array(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda parts, space: f"[{space}" + f"{space},{space}".join(parts) + f"{space}]",
        st.lists(inner, max_size=6),
        _SPACE,
    )


def _object(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda pairs, space: f"{{{space}" + f",{space}".join(f"{k}{space}:{space}{v}{space}" for k, v in pairs) + "}",
        st.lists(st.tuples(_NAMES, inner), max_size=6),
        _SPACE,
    )


def _nested(text: str, levels: int) -> str:
    return "[" * levels + text + "]" * levels


json_texts = st.recursive(
    _SCALARS,
    lambda inner: _array(inner) | _object(inner) | st.builds(_nested, inner, st.integers(1, 12)),
    max_leaves=30,
)
"""With white space, escapes, repeated keys and deep nesting."""

path_keys = st.lists(st.sampled_from(["a", "b", 'k"{', "", "é", "😀", 0, 1, 2, 5]), max_size=6).map(tuple)
"""Paths that often lead somewhere in these texts."""

_decode = json.JSONDecoder().raw_decode


def children(text: str) -> list[tuple[Any, str]]:
    """The members or elements of an object or array, each with its key; a repeated key comes again."""
    found: list[tuple[Any, str]] = []
    if text[0] not in "[{":
        return found
    position = _past_space(text, 1)
    while text[position] not in "]}":
        key: Any = len(found)
        if text[0] == "{":
            key, position = _decode(text, position)
            position = _past_space(text, _past_space(text, position) + 1)
        _, end = _decode(text, position)
        found.append((key, text[position:end]))
        position = _past_space(text, end)
        if text[position] == ",":
            position = _past_space(text, position + 1)
    return found


def part(text: str, keys: tuple[Any, ...]) -> str | None:
    """The text of a part; None if there is none."""
    for key in keys:
        inner = dict(children(text)) if isinstance(key, str) == text.startswith("{") else {}
        if key not in inner:
            return None
        text = inner[key]
    return text


def _past_space(text: str, position: int) -> int:
    while text[position] in " \t\n\r":
        position += 1
    return position
