"""google.protobuf.Value <-> JSON text.

A Value holds doubles: an integral one up to 2^53 is written as an integer, since that is what was meant; any other is
written in the shortest form that reads back as the same double, so that `-0.0` stays `-0.0` and 2^60 is seen to be a
double.
"""

from math import isfinite

import msgspec
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from gateway.core.errors import InvalidParams
from gateway.core.json_text import json_text, quote
from gateway.core.model import JsonText
from runs.v1 import runs_pb2

MAX_VALUE_DEPTH = 32
"""How deep a Value may nest. Protobuf parsers stop at 100 levels of messages, and a JSON object takes three of them."""

EXACT_INTEGERS = 2**53

_VALUES = msgspec.json.Decoder()


def json_value_to_text(message: runs_pb2.JsonValue, *path: str | int) -> JsonText:
    """The JSON text of either encoding. Raises InvalidParams if neither is set, or if a place in it is not JSON."""
    encoding = message.WhichOneof("encoding")
    if encoding == "json":
        return json_text(message.json, *path, "json")
    if encoding == "value":
        return value_to_text(message.value, *path, "value")
    raise InvalidParams.field(*path, description="set json or value")


def text_to_json_value(
    text: JsonText, encoding: runs_pb2.ResultEncoding.ValueType = runs_pb2.RESULT_ENCODING_JSON
) -> runs_pb2.JsonValue:
    """A JsonValue in the encoding asked for; as text all the same if a Value cannot hold it."""
    message = runs_pb2.JsonValue()
    set_json_value(message, text, encoding)
    return message


def set_json_value(message: runs_pb2.JsonValue, text: JsonText, encoding: runs_pb2.ResultEncoding.ValueType) -> None:
    """Like `text_to_json_value`, in place: a message that is a part of another is not copied into it."""
    value = text_to_value(text) if encoding == runs_pb2.RESULT_ENCODING_VALUE else None
    if value is None:
        message.json = text
    else:
        message.value.CopyFrom(value)


def value_to_text(value: Value, *path: str | int) -> JsonText:
    """The JSON text of a Value. Raises InvalidParams if a place in it is not JSON, or nests too deeply."""
    parts: list[str] = []
    write_value(value, parts, path, 0)
    return "".join(parts)


def text_to_value(text: JsonText) -> Value | None:
    """A Value, numbers rounded to doubles; None if it nests too deeply, or a number exceeds the range of a double."""
    try:
        decoded = _VALUES.decode(text)
        value = Value()
        _fill(value, decoded, 0)
    except (msgspec.DecodeError, OverflowError, RecursionError, _TooDeep):
        return None
    return value


class _TooDeep(Exception):
    """A value nests more than MAX_VALUE_DEPTH levels."""


def write_value(value: Value, parts: list[str], path: tuple[str | int, ...], depth: int) -> None:
    """Append the text of a Value at a depth. Raises InvalidParams as `value_to_text` does."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        parts.append(quote(value.string_value))
    elif kind == "number_value":
        parts.append(_number(value.number_value, path))
    elif kind == "bool_value":
        parts.append("true" if value.bool_value else "false")
    elif kind == "null_value":
        parts.append("null")
    elif kind is None:
        raise InvalidParams.field(*path, description="no kind of value is set")
    else:
        refuse_deeper(depth, path)
        if kind == "struct_value":
            _write_object(value.struct_value, parts, path, depth + 1)
        else:
            _write_array(value.list_value, parts, path, depth + 1)


def refuse_deeper(depth: int, path: tuple[str | int, ...]) -> None:
    """Raise InvalidParams if nothing may be inside a value at this depth."""
    if depth == MAX_VALUE_DEPTH:
        raise InvalidParams.field(*path, description=f"nested more than {MAX_VALUE_DEPTH} levels deep")


def _write_object(struct: Struct, parts: list[str], path: tuple[str | int, ...], depth: int) -> None:
    opening = "{"
    fields = struct.fields
    # Sorted: a protobuf map has no order, and the same value must give the same text each time it is sent.
    for name in sorted(fields):
        parts.append(f"{opening}{quote(name)}:")
        write_value(fields[name], parts, (*path, name), depth)
        opening = ","
    parts.append("{}" if opening == "{" else "}")


def _write_array(array: ListValue, parts: list[str], path: tuple[str | int, ...], depth: int) -> None:
    opening = "["
    for index, element in enumerate(array.values):
        parts.append(opening)
        write_value(element, parts, (*path, index), depth)
        opening = ","
    parts.append("[]" if opening == "[" else "]")


def _number(value: float, path: tuple[str | int, ...]) -> str:
    if not isfinite(value):
        raise InvalidParams.field(*path, description="JSON has neither NaN nor Infinity")
    if value.is_integer() and abs(value) <= EXACT_INTEGERS:
        # The only integral double whose sign the integer would lose.
        return "-0.0" if value == 0 and str(value)[0] == "-" else str(int(value))
    return repr(value)


def _fill(value: Value, decoded: object, depth: int) -> None:
    match decoded:
        case None:
            value.null_value = NULL_VALUE
        case bool():
            value.bool_value = decoded
        case int() | float():
            value.number_value = float(decoded)
        case str():
            value.string_value = decoded
        case _ if depth == MAX_VALUE_DEPTH:
            raise _TooDeep
        case dict():
            # An empty object sets no member, so the kind has to be chosen by itself.
            fields = value.struct_value.fields
            value.struct_value.SetInParent()
            for name, member in decoded.items():
                _fill(fields[name], member, depth + 1)
        case list():
            values = value.list_value.values
            value.list_value.SetInParent()
            for element in decoded:
                _fill(values.add(), element, depth + 1)
