# ruff: noqa: N802 - the contract names the methods.
"""The gRPC front: the runs and blobs services, health and reflection, on grpc.aio.

A handler translates, calls the service and translates back. Results are translated in parts, so that no part keeps the
event loop from its other calls for long; in a stream each part is a message.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, NamedTuple, Never, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.adapter import proto
from gateway.adapter.status import to_status
from gateway.defects import defect
from gateway.errors import GatewayError, Overloaded, TooLarge
from gateway.model import RunStatus
from gateway.service import RunsService
from runs.v1 import blobs_pb2, blobs_pb2_grpc, runs_pb2, runs_pb2_grpc

SERVICES = (
    runs_pb2.DESCRIPTOR.services_by_name["RunsService"].full_name,
    blobs_pb2.DESCRIPTOR.services_by_name["BlobsService"].full_name,
)

_DETAILS = "grpc-status-details-bin"
_PART_RESULTS = 256
_PART_TEXT = 1 << 20
_PART_VALUES = 32 << 10


class GrpcLimits(NamedTuple):
    """How much the front takes at once.

    `receive` and `send` bound one message, in bytes. `waits` bounds the calls that may wait for a run, `calls` all
    others, so that waiting ones keep nobody else out. What exceeds these two is refused as Overloaded.
    """

    receive: int = 64 << 20
    send: int = 64 << 20
    calls: int = 4_096
    waits: int = 10_000


class GrpcFront:
    """Serves gRPC at `address`: `HOST:PORT`, where port 0 takes a free one, or `unix:PATH`."""

    def __init__(self, service: RunsService, address: str, *, limits: GrpcLimits | None = None) -> None:
        self._service = service
        self._address = address
        self._limits = limits or GrpcLimits()
        self._health = _Health()
        self._server: aio.Server | None = None

    @property
    def address(self) -> str:
        """Where the front listens; once it has started, with the port that it took."""
        return self._address

    async def start(self) -> None:
        """Listen. OSError if the address cannot be taken."""
        server = _server(self._limits)
        calls = _Slots(self._limits.calls, "calls")
        waits = _Slots(self._limits.waits, "waiting calls")
        runs_pb2_grpc.add_RunsServiceServicer_to_server(_Runs(self._service, calls, waits, self._limits.send), server)
        blobs_pb2_grpc.add_BlobsServiceServicer_to_server(_Blobs(self._service, calls, self._limits.send), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            port = server.add_insecure_port(self._address)
        except RuntimeError:
            raise OSError(f"cannot listen on {self._address}") from None
        await server.start()
        self._server = server
        if not self._address.startswith("unix:"):
            self._address = f"{self._address.rpartition(':')[0]}:{port}"
        for name in SERVICES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Report by the health service that the server is about to stop; everything else goes on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no more calls, give open ones `grace` seconds to end, then cancel them."""
        await self.drain()
        if self._server is None:
            return
        self._health.end_watches()
        await self._server.stop(grace)


def _server(limits: GrpcLimits) -> aio.Server:
    pending = limits.calls + limits.waits
    options = [
        # Requests carry whole batches of inputs, and blobs; grpc's own limit is 4 MB.
        ("grpc.max_receive_message_length", limits.receive),
        ("grpc.max_send_message_length", limits.send),
        # Many calls that arrive at once wait for their handlers; by default those above some hundreds may be reset.
        ("grpc.server.max_pending_requests", pending),
        ("grpc.server.max_pending_requests_hard_limit", pending),
        # A client may ask every second whether the connection lives, with or without calls. By default it may every
        # five minutes, and is disconnected when it asks more often.
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.keepalive_permit_without_calls", 1),
        # A client that vanished without closing its connection is noticed, and its calls end, within 80 seconds.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.max_pings_without_data", 0),
        # A second server on the same port fails to start rather than sharing the connections.
        ("grpc.so_reuseport", 0),
    ]
    return aio.server(options=options)


class _Slots:
    """A limited number of places. `with` takes one, or raises Overloaded."""

    def __init__(self, number: int, name: str) -> None:
        self._free = number
        self._name = name

    def __enter__(self) -> None:
        if not self._free:
            raise Overloaded(f"too many {self._name} at once", retry_after=1.0)
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


_Context: TypeAlias = aio.ServicerContext[Any, Any]
_S = TypeVar("_S")
_Q = TypeVar("_Q", bound=Message)
_A = TypeVar("_A")


def _handler(method: Callable[[_S, _Q, _Context], Awaitable[_A]]) -> Callable[[_S, _Q, _Context], Awaitable[_A]]:
    """Let a handler raise any exception: the client gets its status and details."""

    @functools.wraps(method)
    async def handle(servicer: _S, request: _Q, context: _Context) -> _A:
        try:
            return await method(servicer, request, context)
        except GatewayError as error:
            await _abort(context, error)
        except Exception as error:
            await _abort(context, defect(error))

    return handle


async def _abort(context: _Context, error: GatewayError) -> Never:
    code, message, details = to_status(error)
    await context.abort(code, message, ((_DETAILS, details),))


class _Runs(runs_pb2_grpc.RunsServiceServicer):
    def __init__(self, service: RunsService, calls: _Slots, waits: _Slots, send_limit: int) -> None:
        self._service = service
        self._calls = calls
        self._waits = waits
        self._send_limit = send_limit

    @_handler
    async def SubmitRun(self, request: runs_pb2.SubmitRunRequest, context: _Context) -> runs_pb2.SubmitRunResponse:
        with self._waits if request.wait else self._calls:
            params = proto.submit_params_from_proto(request)
            status = await self._service.submit(params, deadline=_deadline(context))
            run: runs_pb2.RunStatus | None = None
            for part in _parts(status, request.result_encoding):
                message = proto.run_status_to_proto(part, request.result_encoding)
                if run is None:
                    run = message
                else:
                    run.results.extend(message.results)
                    await asyncio.sleep(0)
            response = runs_pb2.SubmitRunResponse(run=run)
            hint = f"the results of run {status.run_id} do not fit into one message: stream them with GetRun"
            return _fitting(response, self._send_limit, hint) if status.results else response

    @_handler
    async def GetRun(self, request: runs_pb2.GetRunRequest, context: _Context) -> None:  # type: ignore[override]
        # Messages are written rather than yielded: grpc would leave a generator unclosed when the client leaves.
        with self._waits if request.wait else self._calls:
            params = proto.get_params_from_proto(request)
            async with aclosing(self._service.follow(params, deadline=_deadline(context))) as updates:
                async for status in updates:
                    for part in _parts(status, request.result_encoding):
                        run = proto.run_status_to_proto(part, request.result_encoding)
                        response = runs_pb2.GetRunResponse(run=run)
                        if part.results:
                            hint = f"result {part.results[0].item_index} does not fit into one message"
                            response = _fitting(response, self._send_limit, hint)
                        await context.write(response)


class _Blobs(blobs_pb2_grpc.BlobsServiceServicer):
    def __init__(self, service: RunsService, calls: _Slots, send_limit: int) -> None:
        self._service = service
        self._calls = calls
        self._send_limit = send_limit

    @_handler
    async def PutBlob(self, request: blobs_pb2.PutBlobRequest, context: _Context) -> blobs_pb2.PutBlobResponse:
        with self._calls:
            blob = proto.blob_from_put_request(request)
            return blobs_pb2.PutBlobResponse(blob_id=await self._service.put_blob(blob))

    @_handler
    async def GetBlob(self, request: blobs_pb2.GetBlobRequest, context: _Context) -> blobs_pb2.GetBlobResponse:
        with self._calls:
            response = proto.blob_to_get_response(await self._service.get_blob(request.blob_id))
            return _fitting(response, self._send_limit, "the blob does not fit into one message")


class _Health(health.aio.HealthServicer):
    """The standard health service, whose watches do not hold up the end of the server."""

    def __init__(self) -> None:
        super().__init__()
        self._ending = asyncio.Event()

    def end_watches(self) -> None:
        """End every watch with UNAVAILABLE."""
        self._ending.set()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: _Context) -> None:
        watch = asyncio.create_task(super().Watch(request, context))
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait((watch, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            ending.cancel()
            await asyncio.gather(watch, ending, return_exceptions=True)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")


def _deadline(context: _Context) -> float | None:
    """The deadline of a call as a value of `time.monotonic()`; None if it has none, which grpc's types leave out."""
    remaining = cast("float | None", context.time_remaining())
    return None if remaining is None else time.monotonic() + remaining


def _parts(status: RunStatus, encoding: runs_pb2.ResultEncoding.ValueType) -> Iterator[RunStatus]:
    """The same status in parts that hold the results in turn, so few that each is a short piece of work.

    A VALUE takes far longer to build than a JSON text, and up to six times its space.
    """
    limit = _PART_VALUES if encoding == runs_pb2.RESULT_ENCODING_VALUE else _PART_TEXT
    results = status.results or []
    start = size = 0
    for index, result in enumerate(results):
        added = len(result.value or "") + len(result.error.data or "" if result.error else "")
        if index > start and (size + added > limit or index - start == _PART_RESULTS):
            yield status.model_copy(update={"results": results[start:index]})
            start, size = index, 0
        size += added
    yield status if start == 0 else status.model_copy(update={"results": results[start:]})


_M = TypeVar("_M", bound=Message)


def _fitting(message: _M, limit: int, otherwise: str) -> _M:
    """The message, if it can be sent. grpc would end the call without saying what to do."""
    if message.ByteSize() > limit:
        raise TooLarge(otherwise)
    return message
