"""Fields that several protobuf messages share: JSON texts, extensions, times, durations, enums.

Readers raise InvalidParams with the path that they were given if a field breaks its rule.
"""

from collections.abc import Mapping, MutableMapping

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.adapter.values import json_value_to_text
from gateway.core.errors import InvalidParams
from gateway.core.json_text import MAX_MEMBERS, too_many
from gateway.core.model import MAX_TIMEOUT, JsonText, Nanoseconds
from gateway.core.times import MAX_SECONDS, MIN_SECONDS
from runs.v1 import runs_pb2

JSON = runs_pb2.RESULT_ENCODING_JSON
"""The encoding of results unless another one is asked for."""

ANY_SIZE = (1 << 31) - 1
"""What requests say of the messages that their clients receive: no message of protobuf is larger."""


def read_texts(fields: Mapping[str, runs_pb2.JsonValue], *path: str | int) -> dict[str, JsonText]:
    """Read a map of JsonValues as JSON texts."""
    if len(fields) > MAX_MEMBERS:
        raise too_many(*path)
    return {name: json_value_to_text(value, *path, name) for name, value in fields.items()}


def write_texts(fields: MutableMapping[str, runs_pb2.JsonValue], texts: Mapping[str, JsonText]) -> None:
    """Write JSON texts into a map of JsonValues."""
    for name, text in texts.items():
        fields[name].json = text


def read_extensions(
    fields: Mapping[str, runs_pb2.JsonValue], reserved: frozenset[str], *path: str | int
) -> dict[str, JsonText]:
    """Read the field `extensions` of the message at `path`; `reserved` names cannot be extensions."""
    for name in fields:
        if name in reserved:
            raise InvalidParams.field(*path, "extensions", name, description="has a field of its own")
    return read_texts(fields, *path, "extensions")


def read_time(message: Timestamp, *path: str | int) -> Nanoseconds:
    """Read a time within the years 1 to 9999."""
    if not (MIN_SECONDS <= message.seconds <= MAX_SECONDS and 0 <= message.nanos < 10**9):
        raise InvalidParams.field(*path, description="not a time within the years 1 to 9999")
    return message.seconds * 10**9 + message.nanos


def write_time(message: Timestamp, time: Nanoseconds) -> None:
    """Write a time in place."""
    message.seconds, message.nanos = divmod(time, 10**9)


def read_seconds(message: Duration, *path: str | int) -> float:
    """Read a duration, in seconds."""
    seconds, nanos = message.seconds, message.nanos
    if abs(seconds) > MAX_TIMEOUT or abs(nanos) >= 10**9 or seconds * nanos < 0:
        raise InvalidParams.field(*path, description="not a duration")
    return (seconds * 10**9 + nanos) / 10**9


def to_duration(seconds: float) -> Duration:
    """The duration of this many seconds, to the nearest nanosecond."""
    whole = int(seconds)
    # The fraction of a double is exact, the product of a large double would not be.
    carry, nanos = divmod(round((seconds - whole) * 10**9), 10**9)
    return Duration(seconds=whole + carry, nanos=nanos)


def unknown_number(*path: str | int) -> InvalidParams:
    """The error for a number that its enum does not define."""
    return InvalidParams.field(*path, description="not a number of this enum")
