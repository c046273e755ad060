"""Parsing requests, and how long they may be: a parser holds the interpreter for as long as a request has fields."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from google.protobuf.message import DecodeError

from gateway.core.errors import InvalidRequest, TooLarge
from gateway.core.json_parts import LONG_TEXT

MAX_SHORT_REQUEST: Final = 256 << 10
"""The longest request of a method that has no need of long ones, in bytes."""

Deserializer: TypeAlias = Callable[[bytes], Any]

M = TypeVar("M")


class InSlices:
    """Parses short requests, and leaves long ones to the method, which reads them in slices of time."""

    def __init__(self, parse: Deserializer) -> None:
        self._parse = parse

    def __call__(self, data: bytes) -> Any:
        return data if len(data) > LONG_TEXT else parsed(self._parse, data)


def parsed(parse: Callable[[bytes], M], data: bytes) -> M:
    """Parse a request. Raises InvalidRequest if it is malformed."""
    try:
        return parse(data)
    except DecodeError:
        raise InvalidRequest("the request cannot be decoded") from None


def bounded(parse: Deserializer | None) -> Deserializer:
    """What parses the requests of a method, as it was registered: without `InSlices`, long ones are refused.

    It raises TooLarge, and InvalidRequest if a request is malformed.
    """
    if parse is None or parse is bytes or isinstance(parse, InSlices):
        return parse or bytes

    def parse_short(data: bytes) -> Any:
        if len(data) > MAX_SHORT_REQUEST:
            raise TooLarge(f"a request of this method has at most {MAX_SHORT_REQUEST >> 10} KiB")
        return parsed(parse, data)

    return parse_short
