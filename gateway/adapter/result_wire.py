"""Many results of a run on the wire: what protobuf makes of them, without a message for each.

To fill and serialize a message takes three times as long as to write the few bytes around its text. Usual results are
written here: successes with a JSON text. All others are left to protobuf.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from gateway.adapter.proto_fields import JSON
from gateway.adapter.proto_wire import length_prefix, varint
from gateway.adapter.status_proto import add_results
from gateway.core.model import ItemResult, RunState
from runs.v1 import runs_pb2

_SUCCESS: Final = RunState.SUCCESS
_SECOND: Final = 10**9
_LEAST_NANOS: Final = 1 << 21
"""Below this, a number of nanoseconds has less than four bytes: one result in 500."""

# Bytes are put together as text, with a character for each: that takes half the time. A number has seven bits in each
# byte, the lowest first, and all bytes but the last have the upper bit set.
_BYTES: Final = "latin-1"
_GOES_ON: Final = [chr(number | 1 << 7) for number in range(1 << 7)]
_ENDS: Final = [chr(number) for number in range(1 << 7)]


def with_results(message: runs_pb2.GetRunResponse, results: Sequence[ItemResult]) -> bytes:
    """Serialize a message that has no results yet, with results whose values are JSON texts."""
    run = message.run.SerializeToString()
    message.ClearField("run")
    field = serialized_results(results)
    prefix = length_prefix(runs_pb2.GetRunResponse.RUN_FIELD_NUMBER, len(run) + len(field))
    return b"".join((message.SerializeToString(), prefix, run, field))


def serialized_results(results: Sequence[ItemResult]) -> bytes:
    """The field `results` of a RunStatus, serialized, with values as JSON texts."""
    parts: list[str] = []
    begun, early, late = 0, -1, -1
    time = time_end = index_end = ""
    frames: dict[int, tuple[str, str]] = {}
    for result in results:
        text, index = result.value, result.item_index
        nanos = (result.completed_at or 0) - begun
        if not 0 <= nanos < _SECOND:
            begun += nanos // _SECOND * _SECOND
            nanos %= _SECOND
            late = -1
        if text is None or result.status is not _SUCCESS or result.extensions or not index or nanos < _LEAST_NANOS:
            parts.append(_by_protobuf(result))
            continue
        # Results follow each other closely: the upper bits of time and index are mostly those of the one before.
        if nanos >> 21 != late:
            late = nanos >> 21
            time, time_end = _time(begun, late)
            early = -1
        if index >> 7 != early:
            early = index >> 7
            index_end = _number(early) if early else ""
            frames = {}
        index_start = _GOES_ON[index & 0x7F] if early else _ENDS[index]
        if not text.isascii():
            text = text.encode().decode(_BYTES)
        length = len(text)
        frame = frames.get(length)
        if frame is None:
            frame = frames[length] = _frame(length, 1 + len(index_end), len(time) + 3 + len(time_end))
        start, between = frame
        low, middle, high = _GOES_ON[nanos & 0x7F], _GOES_ON[nanos >> 7 & 0x7F], _GOES_ON[nanos >> 14 & 0x7F]
        parts.append(f"{start}{index_start}{index_end}{between}{text}{time}{low}{middle}{high}{time_end}")
    return "".join(parts).encode(_BYTES)


def _by_protobuf(result: ItemResult) -> str:
    message = runs_pb2.RunStatus()
    add_results(message, (result,), JSON)
    return message.SerializeToString().decode(_BYTES)


@lru_cache(1 << 10)
def _number(value: int) -> str:
    return varint(value).decode(_BYTES)


@lru_cache(1 << 10)
def _time(begun: int, late: int) -> tuple[str, str]:
    """The field `completed_at` before and after the three lower bytes of its nanoseconds, of which `late` is the rest.

    `begun` is the time when its second began.
    """
    end = varint(late)
    timestamp = b""
    if begun:
        timestamp += varint(Timestamp.SECONDS_FIELD_NUMBER << 3) + varint(begun // _SECOND & (1 << 64) - 1)
    timestamp += varint(Timestamp.NANOS_FIELD_NUMBER << 3)
    length = length_prefix(runs_pb2.ItemResult.COMPLETED_AT_FIELD_NUMBER, len(timestamp) + 3 + len(end))
    return (length + timestamp).decode(_BYTES), end.decode(_BYTES)


@lru_cache(1 << 12)
def _frame(text: int, number: int, time: int) -> tuple[str, str]:
    """What stands before the index of a result, and between the index and the text, given their lengths in bytes."""
    json = length_prefix(runs_pb2.JsonValue.JSON_FIELD_NUMBER, text)
    value = length_prefix(runs_pb2.ItemResult.VALUE_FIELD_NUMBER, len(json) + text) + json
    index = varint(runs_pb2.ItemResult.ITEM_INDEX_FIELD_NUMBER << 3)
    between = varint(runs_pb2.ItemResult.STATUS_FIELD_NUMBER << 3) + varint(runs_pb2.RUN_STATE_SUCCESS) + value
    length = len(index) + number + len(between) + text + time
    before = length_prefix(runs_pb2.RunStatus.RESULTS_FIELD_NUMBER, length) + index
    return before.decode(_BYTES), between.decode(_BYTES)
