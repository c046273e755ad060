"""Messages in JSON: what is accepted is what protobuf reads in it, and goes both ways; the rest is refused."""

import json
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import strategies as st

from gateway.adapter.message_from_json import from_json
from gateway.adapter.message_to_json import to_json
from gateway.concurrency.time_slice import TimeSlice
from runs.v1 import blobs_pb2, runs_pb2
from tests.fuzz.bounded_loop import BoundedLoop
from tests.fuzz.invariants import in_tree
from tests.fuzz.targets import expressions

KINDS: Final[tuple[type[Message], ...]] = (
    runs_pb2.SubmitRunRequest,
    runs_pb2.GetRunRequest,
    runs_pb2.GetRunResponse,
    runs_pb2.WatchRunsRequest,
    runs_pb2.ListRunsRequest,
    runs_pb2.ListItemsRequest,
    runs_pb2.CreateTokenRequest,
    blobs_pb2.PutBlobRequest,
)
_FIELDS: Final = [name for kind in KINDS for field in kind.DESCRIPTOR.fields for name in (field.name, field.json_name)]
_TEXTS: Final = ("1.5s", "2026-01-31T12:00:00Z", "AAEC", "RUN_STATE_FAILED", -1, 2**63)
_VALUES: Final = expressions.VALUES | st.sampled_from(_TEXTS)
_MESSAGES: Final[st.SearchStrategy[Any]] = st.recursive(
    st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=4),
    lambda inside: st.dictionaries(
        st.sampled_from([*_FIELDS, "json", "value", "labels"]), inside | st.lists(inside, max_size=3), max_size=3
    ),
    max_leaves=8,
)
DOCUMENTS: Final[st.SearchStrategy[bytes]] = st.builds(
    lambda number, message: bytes([number]) + json.dumps(message).encode(),
    st.integers(0, len(KINDS) - 1),
    _MESSAGES,
)


def check(data: bytes) -> None:
    """Read a message, whose kind the first byte tells."""
    if not data:
        return
    kind, text = KINDS[data[0] % len(KINDS)], data[1:]
    loop = BoundedLoop()
    try:
        loop.result(_check(kind, text))
    finally:
        loop.close()


async def _check(kind: type[Message], text: bytes) -> None:
    held = 0

    def hold(size: int) -> None:
        nonlocal held
        held += size

    with in_tree():
        found = kind.FromString(await from_json(text, kind, TimeSlice(), hold))
        assert found.ByteSize() <= held + held // 8 + 64, "more is held than is counted"
        assert found == json_format.Parse(text, kind()), "protobuf reads another message"
        written = await to_json(found.SerializeToString(), kind, TimeSlice(), hold)
        assert json_format.Parse(written, kind()) == found, "the text of a message is another one"
        assert kind.FromString(await from_json(written, kind, TimeSlice(), hold)) == found, "it does not come back"
