"""Python clients of the gateway: `RunsClient`, which blocks, and `AsyncRunsClient` for asyncio.

    with RunsClient("127.0.0.1:50051") as client:
        flow_id = client.put_flow({"steps": [], "output": {"$input": "$"}})
        run = client.submit_and_wait(flow_id, [1, 2, 3])
        print([result.value for result in run.results])

This package has the whole public interface; its modules may change.
"""

from gateway.client.asynchronous import AsyncRunsClient
from gateway.client.blocking import RunsClient
from gateway.client.channels import CHANNEL_OPTIONS
from gateway.client.payload import Json
from gateway.client.requests import RunWatch, SubmitOptions
from gateway.client.status import ItemError, ItemResult, RunEnded, RunStatus, RunUpdate
from gateway.client.streams import RunEvent
from gateway.core.errors import (
    FlowNotFound,
    GatewayError,
    IdempotencyConflict,
    Internal,
    InvalidBlobId,
    InvalidFlow,
    InvalidParams,
    InvalidRunId,
    MethodNotFound,
    NotFound,
    Overloaded,
    PermissionDenied,
    RemoteError,
    RunNotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Violation,
)
from gateway.core.model import ItemStatistics, ObservabilityContext, ResultOrder, RunState

__all__ = [
    "CHANNEL_OPTIONS",
    "AsyncRunsClient",
    "FlowNotFound",
    "GatewayError",
    "IdempotencyConflict",
    "Internal",
    "InvalidBlobId",
    "InvalidFlow",
    "InvalidParams",
    "InvalidRunId",
    "ItemError",
    "ItemResult",
    "ItemStatistics",
    "Json",
    "MethodNotFound",
    "NotFound",
    "ObservabilityContext",
    "Overloaded",
    "PermissionDenied",
    "RemoteError",
    "ResultOrder",
    "RunEnded",
    "RunEvent",
    "RunNotFound",
    "RunState",
    "RunStatus",
    "RunUpdate",
    "RunWatch",
    "RunsClient",
    "SubmitOptions",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Violation",
]
