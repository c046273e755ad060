"""What sets of runs are followed by, and what they tell <-> protobuf.

Readers raise InvalidParams with the path of the field that breaks its rule.
"""

from gateway.adapter import status_proto
from gateway.adapter.filters_proto import run_filter_from_proto, run_filter_to_proto
from gateway.adapter.proto_fields import ANY_SIZE, unknown_number
from gateway.core.errors import InvalidParams
from gateway.core.model import MAX_KEY_LENGTH
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetChange, SetEvent, SetParams
from gateway.core.validation import validated
from runs.v1 import runs_pb2

EVENT_NUMBERS = {
    SetEvent.ADDED: runs_pb2.SET_EVENT_ADDED,
    SetEvent.CHANGED: runs_pb2.SET_EVENT_CHANGED,
    SetEvent.LEFT: runs_pb2.SET_EVENT_LEFT,
}
_EVENTS = {number: event for event, number in EVENT_NUMBERS.items()}
_ENCODINGS = frozenset(runs_pb2.ResultEncoding.values())


def set_params_from_proto(message: runs_pb2.WatchSet) -> SetParams:
    """Read which set to follow."""
    if not message.name or len(message.name) > MAX_KEY_LENGTH:
        raise InvalidParams.field("name", description=f"expected 1 to {MAX_KEY_LENGTH} characters")
    if message.result_encoding not in _ENCODINGS:
        raise unknown_number("result_encoding")
    fields = {
        "filter": run_filter_from_proto(message.filter, "filter"),
        "resume_token": message.resume_token,
        "only_new": message.only_new,
        "include_results": message.include_results,
    }
    return validated(SetParams, fields)


def watch_set_to_proto(wanted: RunFilter, position: bytes, *, only_new: bool, name: str) -> runs_pb2.WatchSet:
    """Write which set to follow, for a client that receives messages of any size."""
    return runs_pb2.WatchSet(
        name=name,
        filter=run_filter_to_proto(wanted),
        resume_token=position,
        only_new=only_new,
        max_response_message_bytes=ANY_SIZE,
    )


def set_change_from_proto(message: runs_pb2.WatchRunsResponse) -> SetChange:
    """Read a change of a set, without results."""
    event = _EVENTS.get(message.set_event)
    if event is None:
        raise unknown_number("set_event")
    update = message.update
    status = None
    if update.HasField("run"):
        status = status_proto.run_status_from_proto(update.run, with_results=False)
    return SetChange(event, message.run_id, status, update.revision, update.resume_token)
