"""google.protobuf.Value <-> what a text of JSON is decoded to, in steps: arrays may have tens of thousands of elements.

A number is a double, and an integral one up to 2^53 is written as an integer, as in `adapter.values`.
"""

from collections.abc import Generator, Iterable, Iterator
from heapq import merge
from itertools import islice
from math import copysign, isfinite
from typing import Any, Final

from google.protobuf.struct_pb2 import NULL_VALUE, Value

from gateway.adapter.values import EXACT_INTEGERS, refuse_deeper
from gateway.core.errors import InvalidParams, Path

_STRIDE: Final = 64
"""How many elements are a step."""

_SORTED_AT_ONCE: Final = 1_024


def fill_value(value: Value, decoded: Any, path: Path, depth: int = 0) -> Generator[None, None, None]:
    """Make a Value, at a depth inside others, what JSON has. Raises InvalidParams if no Value can hold that."""
    match decoded:
        case None:
            value.null_value = NULL_VALUE
        case bool():
            value.bool_value = decoded
        case int() | float():
            value.number_value = _double(decoded, path)
        case str():
            value.string_value = decoded
        case dict():
            refuse_deeper(depth, path)
            fields = value.struct_value.fields
            value.struct_value.SetInParent()
            for index, (name, member) in enumerate(decoded.items()):
                if index % _STRIDE == 0:
                    yield
                yield from fill_value(fields[name], member, (*path, name), depth + 1)
        case _:
            refuse_deeper(depth, path)
            values = value.list_value.values
            value.list_value.SetInParent()
            for index, element in enumerate(decoded):
                if index % _STRIDE == 0:
                    yield
                yield from fill_value(values.add(), element, (*path, index), depth + 1)


def value_members(value: Value) -> Generator[None, None, Any]:
    """What JSON has for a Value. The members of objects are sorted: in protobuf they have no order."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        members: dict[str, Any] = {}
        for index, name in enumerate((yield from _sorted(fields))):
            if index % _STRIDE == 0:
                yield
            members[name] = yield from value_members(fields[name])
        return members
    if kind == "list_value":
        elements: list[Any] = []
        for index, element in enumerate(value.list_value.values):
            if index % _STRIDE == 0:
                yield
            elements.append((yield from value_members(element)))
        return elements
    if kind == "number_value":
        return _number(value.number_value)
    return None if kind in ("null_value", None) else getattr(value, kind)


def _sorted(names: Iterable[str]) -> Generator[None, None, Iterator[str]]:
    """Names in their order, sorted in runs."""
    runs: list[list[str]] = []
    left = iter(names)
    while run := sorted(islice(left, _SORTED_AT_ONCE)):
        runs.append(run)
        yield
    return merge(*runs)


def _double(number: float, path: Path) -> float:
    try:
        double = float(number)
    except OverflowError:
        double = float("inf")
    if not isfinite(double):
        raise InvalidParams.field(*path, description="a number beyond the range of a double")
    return double


def _number(value: float) -> float:
    exact = value.is_integer() and abs(value) <= EXACT_INTEGERS and (value or copysign(1, value) > 0)
    return int(value) if exact else value
