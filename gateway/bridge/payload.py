"""Inputs and outputs of tasks: google.protobuf.Value of the engine <-> JSON text of components.

The numbers of a Value are doubles. A number that may have been rounded is refused, unless rounding is allowed.
"""

import re
from typing import Final

from google.protobuf.struct_pb2 import Value

from gateway.adapter.stepflow_numbers import EXACT_INTEGER, Numbers, refuse_inexact_numbers
from gateway.adapter.values import MAX_VALUE_DEPTH, text_to_value, value_to_text
from gateway.core.errors import InvalidParams
from gateway.core.model import JsonText

_ROUNDED: Final = range(EXACT_INTEGER, 2**64)
"""The absolute values of whole numbers that may have been rounded: integers of 64 bits that share a double with others.
Larger numbers were meant to be doubles."""

_MAY_BE_ROUNDED: Final = re.compile(r"[0-9]{16}|[0-9][eE]")
"""Matches every text with such a number."""


def input_text(value: Value, *, lossy: bool) -> JsonText:
    """Return the JSON text of an input, with whole numbers as integers.

    Raises InvalidParams with the path of a number if it may have been rounded and `lossy` is false.
    """
    text = value_to_text(value, "input")
    if not lossy and _MAY_BE_ROUNDED.search(text):
        _refuse_rounded(value, ("input",))
    return text


def output_value(text: JsonText, *, lossy: bool) -> Value:
    """Return the Value of an output.

    Raises InvalidParams with the path of a value if a Value cannot hold it, or not exactly and `lossy` is false.
    """
    if not lossy:
        refuse_inexact_numbers(text, Numbers.DOUBLES, "output")
    value = text_to_value(text)
    if value is None:
        raise InvalidParams.field(
            "output",
            description=f"nested more than {MAX_VALUE_DEPTH} levels deep, or a number is beyond the range of a double",
        )
    return value


def _refuse_rounded(value: Value, path: tuple[str | int, ...]) -> None:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        if number.is_integer() and abs(int(number)) in _ROUNDED:
            raise InvalidParams.field(
                *path,
                description=f"{number:.0f} may have been rounded by the engine, as integers above 2^53 are;"
                " send it as a string, or start the bridge with --lossy-numbers",
            )
    elif kind == "struct_value":
        for name, member in value.struct_value.fields.items():
            _refuse_rounded(member, (*path, name))
    elif kind == "list_value":
        for index, element in enumerate(value.list_value.values):
            _refuse_rounded(element, (*path, index))
