"""A message with one long result, written in steps: protobuf would copy the result three times, as a whole."""

from collections.abc import Generator
from io import BytesIO

from msgspec.structs import replace

from gateway.adapter import status_proto
from gateway.adapter.proto_fields import JSON
from gateway.adapter.proto_wire import length_prefix
from gateway.core.long_strings import utf8_parts
from gateway.core.model import ItemResult
from runs.v1 import runs_pb2


def with_long_result(
    message: runs_pb2.GetRunResponse, result: ItemResult, limit: int
) -> Generator[None, None, bytes | None]:
    """Serialize a message, which has no results, with one that has a value, as JSON. None if it exceeds `limit` bytes.

    Yields after each step.
    """
    value = result.value or ""
    size = 0
    for part in utf8_parts(value):
        size += len(part)
        yield
    head = _before_value(message, result, size)
    if len(head) + size > limit:
        return None
    # Bytes of the right size, which it fills and returns: it copies nothing while it grows, and at the end.
    written = BytesIO(bytes(len(head) + size))
    written.write(head)
    for part in utf8_parts(value):
        written.write(part)
        yield
    return written.getvalue()


def _before_value(message: runs_pb2.GetRunResponse, result: ItemResult, size: int) -> bytes:
    """The message up to its last `size` bytes, the text of the value: all of the messages that it is in end with it."""
    holder = runs_pb2.RunStatus()
    status_proto.add_results(holder, [replace(result, value=None)], JSON)
    run = message.run.SerializeToString()
    others = runs_pb2.GetRunResponse()
    others.CopyFrom(message)
    others.ClearField("run")
    inside = length_prefix(runs_pb2.JsonValue.JSON_FIELD_NUMBER, size)
    for number, before in (
        (runs_pb2.ItemResult.VALUE_FIELD_NUMBER, holder.results[0].SerializeToString()),
        (runs_pb2.RunStatus.RESULTS_FIELD_NUMBER, run),
        (runs_pb2.GetRunResponse.RUN_FIELD_NUMBER, others.SerializeToString()),
    ):
        inside = before + length_prefix(number, len(inside) + size) + inside
    return inside
