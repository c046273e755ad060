"""Expressions and paths: `[expression, input]`. The value is that which a plain reading of the rules gives."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from gateway.core.errors import InvalidFlow
from gateway.core.json_text import elements, json_text
from gateway.core.model import ItemError, JsonText
from gateway.flows.task import UNDEFINED
from tests.fuzz.flow_calls import compiled, evaluated
from tests.fuzz.invariants import in_tree

_KEYS: Final = st.sampled_from(("a", "b", "c", "x y", "é", "0"))
VALUES: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.integers() | st.text(max_size=4) | st.just(1e300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)
_KEYS_OF_PATHS: Final = st.lists(_KEYS | st.integers(0, 3), max_size=4)
_PATHS: Final = (
    _KEYS_OF_PATHS.map(lambda keys: "$" + "".join(f"[{json.dumps(key, ensure_ascii=False)}]" for key in keys))
    | st.text("$.[]'\" ab01", max_size=12)
    | st.none()
)
EXPRESSIONS: Final[st.SearchStrategy[Any]] = st.recursive(
    VALUES | _PATHS.map(lambda path: {"$input": path}) | st.text("$abi", max_size=4).map(lambda name: {name: 1}),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(_KEYS, inner, max_size=3),
        VALUES.map(lambda value: {"$literal": value}),
        st.lists(inner, max_size=3).map(lambda members: {"$coalesce": members}),
        st.fixed_dictionaries({"$if": inner, "then": inner}, optional={"else": inner, "more": inner}),
        st.fixed_dictionaries({"$variable": _PATHS}, optional={"default": inner}),
        st.fixed_dictionaries({"$step": _KEYS}, optional={"path": _PATHS}),
    ),
    max_leaves=8,
)
DOCUMENTS: Final[st.SearchStrategy[bytes]] = st.tuples(EXPRESSIONS, VALUES).map(lambda pair: json.dumps(pair).encode())

_LARGEST: Final = 1 << 20
"""How long a value may be that a short document makes."""


class _Number(str):
    """A number as it is spelled."""


class Unknown(Exception):
    """The reference does not say what an expression means."""


class Fails(Exception):
    """An expression has no value."""


def check(data: bytes) -> None:
    """Evaluate the expression, and compare with the reference where it knows the answer."""
    with in_tree() as read:
        pair = elements(json_text(data))
    if read.refused or len(pair) != 2:
        return
    expression, text = pair
    flow = compiled(f'{{"output":{expression}}}')
    if isinstance(flow, InvalidFlow):
        return
    found = evaluated(flow, text)
    assert found is not None, "an expression without steps waits for one"
    try:
        outcome: Any = found.code if isinstance(found, ItemError) else [_read(_checked(found, len(data)))]
        expected: Any = [_value(_read(expression), _read(text))]
    except Fails:
        expected = UNDEFINED
    except (Unknown, RecursionError):
        return
    assert outcome == expected, f"the value is {outcome}, and should be {expected}"


def _checked(value: JsonText, size: int) -> JsonText:
    """The value of an expression in a document of a size."""
    assert len(value) <= max(_LARGEST, size**2), "a short expression makes a long value"
    return json_text(value)


def _read(text: JsonText) -> Any:
    """The value of JSON, whose numbers stay texts: `1.0` is another output than `1`."""
    return json.loads(text, parse_int=_Number, parse_float=_Number)


def _value(expression: Any, given: Any) -> Any:
    """What an expression means; dictionaries have lost repeated names, of which the last one counts."""
    if isinstance(expression, list):
        return [_value(element, given) for element in expression]
    if not isinstance(expression, dict):
        return expression
    if "$literal" in expression:
        return expression["$literal"]
    if "$if" in expression:
        return _branch(expression, given)
    if "$coalesce" in expression:
        values = (_value(member, given) for member in expression["$coalesce"])
        return next((value for value in values if value is not None), None)
    if "$input" in expression:
        return _at(expression["$input"], given)
    if any(name.startswith("$") for name in expression):
        raise Unknown
    return {name: _value(member, given) for name, member in expression.items()}


def _branch(expression: dict[str, Any], given: Any) -> Any:
    try:
        condition = _value(expression["$if"], given)
    except Fails:
        condition = None
    return _value(expression.get("else") if condition is None or condition is False else expression["then"], given)


def _at(path: str | None, given: Any) -> Any:
    """The part at a path of brackets only, whose names are in double quotes."""
    rest = path or "$"
    if not rest.startswith("$"):
        raise Unknown
    rest = rest[1:]
    while rest:
        if not rest.startswith("["):
            raise Unknown
        inner, closed, rest = rest[1:].partition("]")
        quoted = len(inner) >= 2 and inner[0] == inner[-1] == '"' and '"' not in inner[1:-1]
        if not closed or not (quoted or (inner.isascii() and inner.isdecimal())):
            raise Unknown
        key: str | int = inner[1:-1] if quoted else int(inner)
        if not isinstance(given, dict if isinstance(key, str) else list):
            raise Fails
        if (key not in given) if isinstance(key, str) else key >= len(given):
            raise Fails
        given = given[key]  # type: ignore[index]
    return given
