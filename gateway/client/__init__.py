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
from gateway.client.control_requests import RunsPage
from gateway.client.filters import RunFilter
from gateway.client.items import Item, StepStatus
from gateway.client.payload import Json
from gateway.client.requests import RunWatch, SubmitOptions
from gateway.client.run_sets import CaughtUp, RunSet, RunSetEvent, SetUpdate
from gateway.client.security import SecurityOptions
from gateway.client.status import ItemError, ItemResult, RunEnded, RunStatus, RunUpdate
from gateway.client.streams import RunEvent
from gateway.client.tokens import ScopedToken
from gateway.core.control import BulkProgress
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
    RunNotEnded,
    RunNotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
    Violation,
)
from gateway.core.items import StepState
from gateway.core.model import ItemStatistics, ObservabilityContext, ResultOrder, RunState
from gateway.core.run_filter import RunOrder
from gateway.core.run_sets import SetEvent

__all__ = [
    "CHANNEL_OPTIONS",
    "AsyncRunsClient",
    "BulkProgress",
    "CaughtUp",
    "FlowNotFound",
    "GatewayError",
    "IdempotencyConflict",
    "Internal",
    "InvalidBlobId",
    "InvalidFlow",
    "InvalidParams",
    "InvalidRunId",
    "Item",
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
    "RunFilter",
    "RunNotEnded",
    "RunNotFound",
    "RunOrder",
    "RunSet",
    "RunSetEvent",
    "RunState",
    "RunStatus",
    "RunUpdate",
    "RunWatch",
    "RunsClient",
    "RunsPage",
    "ScopedToken",
    "SecurityOptions",
    "SetEvent",
    "SetUpdate",
    "StepState",
    "StepStatus",
    "SubmitOptions",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "Violation",
]
