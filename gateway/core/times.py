"""Times as text: RFC 3339 <-> nanoseconds, exact."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from gateway.core.errors import InvalidParams
from gateway.core.model import Nanoseconds

MIN_SECONDS, MAX_SECONDS = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, which RFC 3339 and google.protobuf.Timestamp can write, in seconds since the epoch."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|([+-](?:[01][0-9]|2[0-3]):[0-5][0-9]))"
)


def rfc3339(time: Nanoseconds) -> str:
    """Write a time in UTC, with 0, 3, 6 or 9 digits of a second, as few as it needs: `2025-01-15T10:30:00.250Z`."""
    seconds, nanos = divmod(time, 10**9)
    text = _to_the_second(seconds)
    if nanos % 1_000:
        return f"{text}.{nanos:09d}Z"
    if nanos == 0:
        return f"{text}Z"
    return f"{text}.{nanos // 1_000:06d}Z" if nanos % 1_000_000 else f"{text}.{nanos // 1_000_000:03d}Z"


def nanoseconds(text: str, *path: str | int) -> Nanoseconds:
    """Read a time with any offset and at most 9 digits of a second.

    Raises InvalidParams with `path` if the text is not such a time.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise _no_time(path)
    date, clock, digits, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{offset or '+00:00'}")
    except ValueError:
        raise _no_time(path) from None
    since = moment - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise _no_time(path)
    return seconds * 10**9 + (int(digits.ljust(9, "0")) if digits else 0)


@lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    return (_NAIVE_EPOCH + timedelta(seconds=seconds)).isoformat()


def _no_time(path: tuple[str | int, ...]) -> InvalidParams:
    return InvalidParams.field(*path, description="expected an RFC 3339 time with at most 9 digits of a second")
