"""Calling the gRPC front as clients do, and reading what calls end with."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2_grpc

from gateway.adapter.proto_fields import ANY_SIZE
from gateway.fronts.grpc import GrpcFront
from runs.v1 import blobs_pb2, blobs_pb2_grpc, runs_pb2, runs_pb2_grpc
from tests.support.scripted_runtime import FLOW

CLIENT_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Serve = Callable[..., Awaitable[tuple[GrpcFront, "Client"]]]


class Client:
    """Stubs of all services over one channel, and shorter forms of the calls that most tests make."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS)
        self.runs = runs_pb2_grpc.RunsServiceStub(self.channel)
        self.blobs = blobs_pb2_grpc.BlobsServiceStub(self.channel)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel)

    async def put_flow(self) -> str:
        request = blobs_pb2.PutBlobRequest(json=str(FLOW.content), type=blobs_pb2.BLOB_TYPE_FLOW)
        return (await self.blobs.PutBlob(request)).blob_id

    async def submit(self, inputs: int = 4, **fields: Any) -> runs_pb2.RunStatus:
        flow_id = await self.put_flow()
        values = [runs_pb2.JsonValue(json=str(index)) for index in range(inputs)]
        fields = {"max_response_message_bytes": ANY_SIZE, **fields}
        request = runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=values, **fields)
        return (await self.runs.SubmitRun(request)).run

    def get(self, run_id: str, *, call_timeout: float | None = None, **fields: Any) -> Any:
        fields = {"max_response_message_bytes": ANY_SIZE, **fields}
        return self.runs.GetRun(runs_pb2.GetRunRequest(run_id=run_id, **fields), timeout=call_timeout)

    def watch(self, **fields: Any) -> Any:
        return self.runs.WatchRuns(**fields)

    async def close(self) -> None:
        await self.channel.close()


async def read_all(stream: Any) -> list[Any]:
    """The messages of a stream that have not been read yet; raises the error that ends it."""
    messages = []
    while (message := await stream.read()) is not grpc.aio.EOF:
        messages.append(message)
    return messages


async def failure(call: Any) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    """The status of a call that fails: code, message, and details by type."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (read_all(call) if hasattr(call, "read") else call)
    error = caught.value
    found: dict[str, Any] = {}
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            found = details(value, error.code().value[0], error.details() or "")
    return error.code(), error.details() or "", found


def details(serialized: bytes, code: int, message: str) -> dict[str, Any]:
    """The details of a google.rpc.Status by type; it must repeat the code and the message."""
    status = status_pb2.Status.FromString(serialized)
    assert (status.code, status.message) == (code, message)
    found: dict[str, Any] = {}
    for packed in status.details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.QuotaFailure,
            error_details_pb2.RetryInfo,
        ):
            if packed.Is(kind.DESCRIPTOR):
                found[kind.__name__] = kind.FromString(packed.value)
    return found


def violated(found: dict[str, Any]) -> list[str]:
    """The fields that details of an error name."""
    return [violation.field for violation in found["BadRequest"].field_violations]
