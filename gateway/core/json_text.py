"""The text of JSON values: checking it, slicing it, reading scalars out of it; never rewriting it.

`json_text` is the edge: the text that it returns is well formed, and so is every slice of it. The other functions read
such text. All of them raise InvalidParams, with the path that they were given, if the text is not what they read.
"""

import re
from math import isfinite

import msgspec

from gateway.core.errors import InvalidParams, TooLarge, render_path
from gateway.core.model import JsonText

MAX_JSON_BYTES = 64 * 2**20
"""The longest payload, and the longest JSON-RPC body, in bytes of UTF-8."""

MAX_MEMBERS = 10_000
"""The most members of an object of a request that is divided into its members: of the request itself, its parameters,
variables, and the like. Objects within payloads have no such limit."""

INTEGER_RANGE = range(-(2**63), 2**64)
"""The integers that protocol members may hold. Payloads have no such limit."""

_WHITE_SPACE = " \t\n\r"
_VALUE = msgspec.json.Decoder(msgspec.Raw)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_NUMBER = msgspec.json.Decoder(int | float)
_STRING_ENCODER = msgspec.json.Encoder()
_PAIRED_ESCAPES = re.compile(
    r"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?!u[dD][89a-fA-F]).)*+", re.DOTALL
)


def json_text(text: str | bytes, *path: str | int) -> JsonText:
    """Check that `text` is exactly one JSON value and return it without the white space around it.

    Everything else is kept as it is: numbers of any size, the order of keys, repeated keys. Raises InvalidParams if it
    is anything else, TooLarge if it is longer than MAX_JSON_BYTES.
    """
    if len(text) > MAX_JSON_BYTES:
        raise too_large(*path)
    try:
        if isinstance(text, bytes):
            encoded: str | bytes = text
            text = text.decode()
        else:
            # ASCII goes in as it is. Any other string would keep its encoded form for as long as it lives.
            encoded = text if text.isascii() else text.encode()
            if len(encoded) > MAX_JSON_BYTES:
                raise too_large(*path)
        _VALUE.decode(encoded)
    except UnicodeDecodeError as error:
        raise InvalidParams.field(*path, description=f"not UTF-8 (byte {error.start})") from None
    except UnicodeEncodeError as error:
        raise lone_surrogate(error.start, *path) from None
    except msgspec.DecodeError as error:
        raise InvalidParams.field(*path, description=what_is_wrong(str(text), str(error))) from None
    except RecursionError:
        raise too_deep(*path) from None
    return text.strip(_WHITE_SPACE)


def members(text: JsonText, *path: str | int) -> dict[str, JsonText]:
    """The members of an object, in order; of repeated keys the last one counts."""
    try:
        return {name: str(raw, "utf-8") for name, raw in _OBJECT.decode(text).items()}
    except msgspec.DecodeError:
        raise InvalidParams.field(*path, description="expected an object") from None
    except RecursionError:
        raise too_deep(*path) from None


def elements(text: JsonText, *path: str | int) -> list[JsonText]:
    """The elements of an array."""
    return [str(raw, "utf-8") for raw in _elements(text, path)]


def count_elements(text: JsonText, *path: str | int) -> int:
    """How many elements an array has."""
    return len(_elements(text, path))


def _elements(text: JsonText, path: tuple[str | int, ...]) -> list[msgspec.Raw]:
    try:
        return _ARRAY.decode(text)
    except msgspec.DecodeError:
        raise InvalidParams.field(*path, description="expected an array") from None
    except RecursionError:
        raise too_deep(*path) from None


def object_text(text: JsonText, *path: str | int) -> JsonText:
    """The text, if it is that of an object."""
    if not text.startswith("{"):
        raise InvalidParams.field(*path, description="expected an object")
    return text


def string(text: JsonText, *path: str | int) -> str:
    """The value of a string."""
    if not text.startswith('"'):
        raise InvalidParams.field(*path, description="expected a string")
    return _STRING.decode(text)


def boolean(text: JsonText, *path: str | int) -> bool:
    """The value of `true` or `false`."""
    if text not in ("true", "false"):
        raise InvalidParams.field(*path, description="expected true or false")
    return text == "true"


def integer(text: JsonText, *path: str | int) -> int:
    """The value of an integer in INTEGER_RANGE. JSON knows one kind of number: `2.0` is 2."""
    value = _number(text)
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        value = int(value)
    if not isinstance(value, int) or value not in INTEGER_RANGE:
        raise InvalidParams.field(*path, description="expected an integer of at most 64 bits")
    return value


def number(text: JsonText, *path: str | int) -> float:
    """The value of a number, as a double."""
    value = _number(text)
    if value is None and text[0] not in "-0123456789":
        raise InvalidParams.field(*path, description="expected a number")
    try:
        value = None if value is None else float(value)
    except OverflowError:
        value = None
    if value is None or not isfinite(value):
        raise InvalidParams.field(*path, description="expected a number within the range of a double")
    return value


def quote(value: str) -> JsonText:
    """Write a string as JSON."""
    return _STRING_ENCODER.encode(value).decode()


def what_is_wrong(text: str, message: str) -> str:
    """Describe why a text is not a JSON value, given the message of the parser."""
    end = _PAIRED_ESCAPES.match(text).end()  # type: ignore[union-attr]
    if text.startswith("\\u", end):
        return f"not a JSON value: lone surrogate (character {end})"
    if message == "Input data was truncated":
        return "not a JSON value: the text ends too early"
    return f"not a JSON value: {message.removeprefix('JSON is malformed: ')}"


def limit_text(size: int) -> str:
    """A size in bytes, for messages."""
    return f"{size // 2**20} MiB" if size and size % 2**20 == 0 else f"{size:,} bytes"


def too_large(*path: str | int) -> TooLarge:
    """The error for a value longer than MAX_JSON_BYTES."""
    limit = f"more than {limit_text(MAX_JSON_BYTES)} of JSON"
    return TooLarge(f"{render_path(path)}: {limit}" if path else limit)


def lone_surrogate(character: int, *path: str | int) -> InvalidParams:
    """The error for a text that cannot be sent, by the place in it."""
    return InvalidParams.field(*path, description=f"lone surrogate (character {character})")


def too_deep(*path: str | int) -> InvalidParams:
    """The error for a value that nests beyond what parsers take."""
    return InvalidParams.field(*path, description="nested too deeply")


def too_many(*path: str | int) -> InvalidParams:
    """The error for an object with more than MAX_MEMBERS members."""
    return InvalidParams.field(*path, description=f"more than {MAX_MEMBERS:,} members")


def _number(text: JsonText) -> int | float | None:
    """The value of a number; None if the text is not a number, or beyond every range."""
    try:
        value: int | float = _NUMBER.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return value
