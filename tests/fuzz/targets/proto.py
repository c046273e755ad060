"""Bytes of each gRPC method, sent to the front: the first byte names the method, and the messages follow.

A message is two bytes of length and its bytes, or the rest. Each call ends, with a status of the error tree; one that
follows a set is ended here, once it is told the set as it is.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from hypothesis import strategies as st

from gateway.core.model import blob_id_of
from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.runs.services import RunsServices
from runs.v1 import blobs_pb2, runs_pb2
from tests.fuzz.serving import FLOW_ID, Renewed, ServedRuns

METHODS: Final[list[tuple[str, type[Message], bool, bool]]] = [
    ("runs.v1.RunsService/SubmitRun", runs_pb2.SubmitRunRequest, False, False),
    ("runs.v1.RunsService/GetRun", runs_pb2.GetRunRequest, False, True),
    ("runs.v1.RunsService/WatchRuns", runs_pb2.WatchRunsRequest, True, True),
    ("runs.v1.RunsService/SubmitRunStream", runs_pb2.SubmitRunStreamRequest, True, False),
    ("runs.v1.BlobsService/PutBlob", blobs_pb2.PutBlobRequest, False, False),
    ("runs.v1.BlobsService/GetBlob", blobs_pb2.GetBlobRequest, False, False),
]
"""The path, the class of requests, and whether requests and responses are streams."""

_WATCHES: Final = 2
"""The place of WatchRuns above."""

_DEFECTS: Final = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
_LIMIT: Final = 1 << 20
_SECONDS: Final = 20.0
"""The deadline of a call, which none should meet: nothing that these requests ask for takes so long."""


class Served(ServedRuns):
    """A front over a gateway in memory, and a channel to it."""

    async def start(self) -> None:
        await super().start()
        self.front = GrpcFront(RunsServices(self.service), "127.0.0.1:0", limits=GrpcLimits(receive=_LIMIT))
        await self.front.start()
        self.channel = grpc.aio.insecure_channel(self.front.address)

    async def close(self) -> None:
        await self.channel.close()
        await self.front.stop(0)
        await super().close()


GATEWAY: Final = Renewed(Served)

_FLOW_IDS: Final = st.sampled_from((FLOW_ID, FLOW_ID[7:], blob_id_of("0" * 64), "", "x"))
_TEXTS: Final = st.sampled_from(("1", '{"a":[1e400]}', "", "{", '"\\ud800"', "null")) | st.text(max_size=8)
_VALUES: Final = st.fixed_dictionaries({}, optional={"json": _TEXTS}) | st.just({"value": {"a": [1, None]}})
_SUBMITS: Final = st.fixed_dictionaries(
    {},
    optional={
        "flowId": _FLOW_IDS,
        "inputs": st.lists(_VALUES, max_size=4),
        "wait": st.booleans(),
        "timeout": st.sampled_from(("0s", "1s", "-1s", "315576000000s")),
        "maxConcurrency": st.integers(0, 2**32 - 1),
        "idempotencyKey": st.text(max_size=4),
        "flowLabel": st.text(max_size=4),
        "overrides": _VALUES,
        "resultEncoding": st.integers(0, 5),
    },
)
_GETS: Final = st.fixed_dictionaries(
    {},
    optional={
        "runId": st.sampled_from(("00000000-0000-4000-8000-000000000000", "x", "")),
        "wait": st.booleans(),
        "includeResults": st.booleans(),
        "resultOrder": st.integers(0, 5),
        "resultEncoding": st.integers(0, 5),
        "heartbeatInterval": st.sampled_from(("0s", "1s", "-1s")),
    },
)
_REQUESTS: Final[list[st.SearchStrategy[Any]]] = [
    _SUBMITS,
    _GETS,
    _GETS.map(lambda get: {"add": get}) | st.sampled_from(({"remove": "x"}, {})),
    st.fixed_dictionaries({}, optional={"parameters": _SUBMITS, "inputs": st.lists(_VALUES, max_size=3)}),
    st.fixed_dictionaries({}, optional={"json": _TEXTS, "type": st.integers(0, 4)}),
    st.fixed_dictionaries({}, optional={"blobId": _FLOW_IDS}),
]


def _document(method: int, requests: list[Any]) -> bytes:
    """The document of a call, from requests in the JSON of protobuf."""
    kind = METHODS[method][1]
    parts = [
        json_format.ParseDict(request, kind(), ignore_unknown_fields=True).SerializeToString() for request in requests
    ]
    return bytes([method]) + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


DOCUMENTS: Final[st.SearchStrategy[bytes]] = st.integers(0, len(METHODS) - 1).flatmap(
    lambda method: st.lists(_REQUESTS[method], min_size=1, max_size=3 if METHODS[method][2] else 1).map(
        lambda requests: _document(method, requests)
    )
)


def check(data: bytes) -> None:
    """Make the call, and see how it ends."""
    number, messages = (data[0] if data else 0) % len(METHODS), _messages(data[1:])
    _, kind, is_stream, _ = METHODS[number]
    messages = messages if is_stream else messages[:1] or [b""]
    code, details = GATEWAY.call(lambda served: _status(served, number, messages))
    if details == "Internal error from Core":
        return  # grpcio's client says this when the answer comes while it still sends; no gateway does.
    if code in _DEFECTS and not all(_is_readable(kind, message) for message in messages):
        return  # grpcio says this of bytes that are no message, before the gateway sees them.
    assert code not in _DEFECTS, f"a request is taken for a defect: {details}"
    assert code is not grpc.StatusCode.DEADLINE_EXCEEDED, "no answer"


def _messages(data: bytes) -> list[bytes]:
    messages = []
    while data:
        size = int.from_bytes(data[:2], "big")
        messages.append(data[2 : 2 + size])
        data = data[2 + size :]
    return messages


def _is_readable(kind: type[Message], data: bytes) -> bool:
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True


async def _status(served: Served, number: int, messages: list[bytes]) -> tuple[grpc.StatusCode, str]:
    path, _, sends_stream, gets_stream = METHODS[number]
    kind = f"{'stream' if sends_stream else 'unary'}_{'stream' if gets_stream else 'unary'}"
    call = getattr(served.channel, kind)(f"/{path}")(_each(messages) if sends_stream else messages[0], timeout=_SECONDS)
    try:
        if gets_stream:
            while (response := await call.read()) is not grpc.aio.EOF:
                if number == _WATCHES and runs_pb2.WatchRunsResponse.FromString(response).HasField("caught_up"):
                    call.cancel()  # A set goes on for as long as somebody follows it.
                    break
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


async def _each(messages: list[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message
