"""A collector of OpenTelemetry that keeps what it receives, over gRPC or over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from grpc import aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

NO_PARENT = ""


class ReceivedSpan(NamedTuple):
    """A span, with ids in hexadecimal. `parent` is "" if it has none, `resource` what says who made it."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    kind: str
    trace_state: str
    attributes: dict[str, Any]
    events: list[str]
    resource: dict[str, Any]


class Collector:
    """What has been received at `endpoint`."""

    def __init__(self, endpoint: str, protocol: str) -> None:
        self.spans: list[ReceivedSpan] = []
        self.headers: dict[str, str] = {}
        """Those of the last request."""
        self.environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        self._changed = asyncio.Condition()

    async def receive(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Take what has been sent."""
        self.spans += _spans(request)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, enough: Callable[[list[ReceivedSpan]], bool]) -> list[ReceivedSpan]:
        """Wait until what has come is enough, and return it."""
        async with self._changed:
            await self._changed.wait_for(lambda: enough(self.spans))
        return self.spans

    def named(self, name: str) -> list[ReceivedSpan]:
        """The spans with a name."""
        return [span for span in self.spans if span.name == name]


@asynccontextmanager
async def grpc_collector() -> AsyncIterator[Collector]:
    """A collector that is reached by gRPC."""
    server = aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    collector = Collector(f"http://127.0.0.1:{port}", "grpc")
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Service(collector), server)
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(None)


@asynccontextmanager
async def http_collector() -> AsyncIterator[Collector]:
    """A collector that is reached by HTTP."""

    async def export(request: web.Request) -> web.Response:
        collector.headers = {name.lower(): value for name, value in request.headers.items()}
        await collector.receive(trace_service_pb2.ExportTraceServiceRequest.FromString(await request.read()))
        body = trace_service_pb2.ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")

    application = web.Application()
    application.router.add_post("/v1/traces", export)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector = Collector(f"http://127.0.0.1:{runner.addresses[0][1]}", "http/protobuf")
    try:
        yield collector
    finally:
        await runner.cleanup()


class _Service(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def Export(  # noqa: N802 - its name in the protocol
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        self._collector.headers = {str(name): str(value) for name, value in context.invocation_metadata()}
        await self._collector.receive(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def _spans(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for made in request.resource_spans:
        resource = _values(made.resource.attributes)
        for scope in made.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    span.trace_state,
                    _values(span.attributes),
                    [event.name for event in span.events],
                    resource,
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
