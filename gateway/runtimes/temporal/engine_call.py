"""One call on a Temporal server: it is counted, belongs to a trace, and fails as clients of this gateway are told."""

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Protocol

from opentelemetry.trace import Span, SpanKind
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from gateway.core.errors import GatewayError
from gateway.core.upstream_calls import UpstreamCall, UpstreamCalls
from gateway.core.upstream_refusals import UpstreamRefusal, UpstreamRefusals
from gateway.runtimes.temporal.engine_errors import EngineFailure, engine_error
from gateway.runtimes.temporal.presence import EnginePresence
from gateway.telemetry import tracing
from gateway.telemetry.semconv import RPC_NAMES, SpanAttributes

SERVICE: Final = "temporal.api.workflowservice.v1.WorkflowService"

_CALLS: Final = UpstreamCalls("temporal")


class CallSite(Protocol):
    """What calls are made on: a connection."""

    presence: EnginePresence
    refusals: UpstreamRefusals
    server_attributes: SpanAttributes

    @property
    def client(self) -> Client:
        """The client of the SDK, once the engine has been found."""


class EngineCall(AbstractAsyncContextManager[Client]):
    """A block in which one call on the engine is made, by the client that it gives.

    `method` is the name of the rpc, for traces. What `waits` for something to happen takes as long as that, and is
    neither measured nor counted.

    In place of RPCError, it raises EngineAbsent if there was no answer, else NoSuchWorkflow, UpstreamRefusal,
    Overloaded, TooLarge or EngineUnprepared; other errors of the SDK stay as they are. Raises Unavailable at once, and
    makes no call, if the engine is known to be away.
    """

    __slots__ = ("_call", "_method", "_site", "_span", "_waits")

    def __init__(self, site: CallSite, method: str, *, waits: bool = False) -> None:
        self._site = site
        self._method = method
        self._waits = waits
        self._call: UpstreamCall | None = None
        self._span: Span | None = None

    async def __aenter__(self) -> Client:
        site = self._site
        if not site.presence.is_here:
            await site.presence.here()
        if tracing.tracer is not None and tracing.ids() is not None:
            name = f"{SERVICE}/{self._method}"
            attributes = {**RPC_NAMES.of_method("grpc", name), **site.server_attributes}
            self._span = tracing.start(name, SpanKind.CLIENT, attributes=attributes)
        if not self._waits:
            self._call = _CALLS.call().__enter__()
        return site.client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        told = told_error(self._site.refusals, error) if isinstance(error, RPCError) else None
        if self._call is not None:
            self._call.__exit__(kind, told or error, None)
        if self._span is not None:
            _end(self._span, error)
        if error is None:
            self._site.refusals.accepted()
        if isinstance(told, EngineFailure) or (isinstance(told, UpstreamRefusal) and not told.known):
            self._site.presence.lost()
        if told is not None:
            raise told from None


def told_error(refusals: UpstreamRefusals, error: RPCError) -> GatewayError | None:
    """What clients of this gateway are told of an error of the engine; None if it is none for them."""
    meant = engine_error(error)
    return None if meant is None else refusals.told(meant)


def _end(span: Span, error: BaseException | None) -> None:
    """End the span of a call as the conventions say."""
    code = _code_of(error)
    if code:
        span.set_attributes(RPC_NAMES.of_code("grpc", code))
    if code not in ("OK", "CANCELLED"):
        tracing.failed(span, code or type(error).__name__)
    span.end()


def _code_of(error: BaseException | None) -> str:
    """The status of gRPC with which a call has ended; empty for an error that is none of gRPC."""
    match error:
        case None:
            return "OK"
        case RPCError():
            return error.status.name
        case WorkflowAlreadyStartedError():
            return "ALREADY_EXISTS"
        case asyncio.CancelledError() | GeneratorExit():
            return "CANCELLED"
        case _:
            return ""
