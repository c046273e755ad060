"""The filter of runs <-> protobuf.

The reader raises InvalidParams with the path of each field that breaks its rule.
"""

from gateway.adapter.proto_fields import read_time, write_time
from gateway.adapter.status_proto import STATE_NUMBERS, state_from_proto
from gateway.core.run_filter import RunFilter, asked_states, canonical_filter
from runs.v1 import runs_pb2


def run_filter_from_proto(message: runs_pb2.RunFilter, *path: str | int) -> RunFilter:
    """Read the filter at `path`: its ids become canonical. An empty text is an absent condition."""
    fields: dict[str, object] = {
        "states": asked_states(message.states, state_from_proto, *path, "states"),
        "flow_ids": tuple(message.flow_ids),
        "flow_label": message.flow_label or None,
        "flow_name": message.flow_name or None,
        "parent_run_id": message.parent_run_id or None,
        "root_run_id": message.root_run_id or None,
        "roots_only": message.roots_only,
        "labels": dict(message.labels),
    }
    if message.HasField("created_after"):
        fields["created_after"] = read_time(message.created_after, *path, "created_after")
    if message.HasField("created_before"):
        fields["created_before"] = read_time(message.created_before, *path, "created_before")
    return canonical_filter(fields, *path)


def run_filter_to_proto(wanted: RunFilter) -> runs_pb2.RunFilter:
    """Write a filter."""
    message = runs_pb2.RunFilter(
        states=[STATE_NUMBERS[state] for state in wanted.states],
        flow_ids=wanted.flow_ids,
        flow_label=wanted.flow_label or "",
        flow_name=wanted.flow_name or "",
        parent_run_id=wanted.parent_run_id or "",
        root_run_id=wanted.root_run_id or "",
        roots_only=wanted.roots_only,
        labels=wanted.labels,
    )
    if wanted.created_after is not None:
        write_time(message.created_after, wanted.created_after)
    if wanted.created_before is not None:
        write_time(message.created_before, wanted.created_before)
    return message
