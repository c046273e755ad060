"""The spans of calls on another gateway, and what they carry there."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import grpc
import pytest
from grpc import aio
from opentelemetry import context as contexts
from opentelemetry.trace import SpanKind, StatusCode

from gateway.peers.grpc.traced_channel import TracedChannel
from gateway.telemetry import tracing
from gateway.telemetry.semconv import server_attributes
from runs.v1 import runs_pb2, runs_pb2_grpc
from tests.support.noting_service import RUN_ID, NotingService, serving
from tests.support.traces import MadeSpans, child_of, gateway_spans, parent

SUBMIT = "runs.v1.RunsService/SubmitRun"
GET = "runs.v1.RunsService/GetRun"


@pytest.fixture
def spans() -> Iterator[MadeSpans]:
    with gateway_spans() as made:
        yield made


@pytest.fixture
def service() -> NotingService:
    return NotingService()


@pytest.fixture
async def address(service: NotingService) -> AsyncIterator[str]:
    async with serving(service) as address:
        yield address


@pytest.fixture
async def stub(address: str) -> AsyncIterator[Any]:
    async with aio.insecure_channel(address) as channel:
        yield runs_pb2_grpc.RunsServiceStub(cast("Any", TracedChannel(channel, server_attributes(address))))


def get() -> runs_pb2.GetRunRequest:
    return runs_pb2.GetRunRequest(run_id=RUN_ID)


async def test_a_call_is_a_child_of_the_current_span(spans: MadeSpans, service: NotingService, stub: Any) -> None:
    with tracing.span("served"):
        await stub.SubmitRun(runs_pb2.SubmitRunRequest(), metadata=(("other", "one"),))
    made = spans.one(SUBMIT)
    assert child_of(made, spans.one("served"))
    assert made.kind is SpanKind.CLIENT
    assert made.attributes is not None
    assert made.attributes["rpc.grpc.status_code"] == 0
    assert made.attributes["server.address"] == "127.0.0.1"
    (carried,) = service.carried
    assert f"-{made.context.span_id:016x}-" in carried["traceparent"]
    assert carried["other"] == "one"


async def test_a_stream_is_read_to_its_end(spans: MadeSpans, stub: Any) -> None:
    with tracing.span("served"):
        call = stub.GetRun(get())
        while await call.read() is not aio.EOF:
            pass
    call.cancel()
    made = spans.one(GET)
    assert [event.name for event in made.events] == ["first message"]
    assert made.attributes is not None
    assert made.attributes["rpc.grpc.status_code"] == 0


@pytest.mark.parametrize("reads", [0, 1])
async def test_a_stream_that_is_left_is_no_error(spans: MadeSpans, stub: Any, reads: int) -> None:
    with tracing.span("served"):
        call = stub.GetRun(get())
    for _ in range(reads):
        await call.read()
    call.cancel()
    assert spans.one(GET).status.status_code is StatusCode.UNSET


async def test_a_failure_is_one_of_the_span(spans: MadeSpans, service: NotingService, stub: Any) -> None:
    service.refuses = grpc.StatusCode.NOT_FOUND
    with tracing.span("served"):
        with pytest.raises(aio.AioRpcError):
            await stub.SubmitRun(runs_pb2.SubmitRunRequest())
        with pytest.raises(aio.AioRpcError):
            await stub.GetRun(get()).read()
    for name in (SUBMIT, GET):
        made = spans.one(name)
        assert made.status.status_code is StatusCode.ERROR
        assert made.attributes is not None
        assert made.attributes["error.type"] == "NOT_FOUND"


async def test_what_belongs_to_no_trace_has_no_span(spans: MadeSpans, service: NotingService, stub: Any) -> None:
    await stub.SubmitRun(runs_pb2.SubmitRunRequest())
    assert spans.all == ()
    assert "traceparent" not in service.carried[0]


async def test_a_part_of_this_gateway_is_told_the_span_that_is_current(
    spans: MadeSpans, service: NotingService, address: str
) -> None:
    async with aio.insecure_channel(address) as channel:
        stub: Any = runs_pb2_grpc.RunsServiceStub(cast("Any", TracedChannel(channel, {}, passes_on=True)))
        with tracing.span("served"):
            await stub.SubmitRun(runs_pb2.SubmitRunRequest())
    served = spans.one("served")
    assert spans.all == (served,)
    assert f"-{served.context.span_id:016x}-" in service.carried[0]["traceparent"]


async def test_what_is_not_sampled_is_told_so(spans: MadeSpans, service: NotingService, stub: Any) -> None:
    context = tracing.extracted({"traceparent": parent(sampled=False).header, "tracestate": "a=b", "baggage": "c=d"})
    assert context is not None
    token = contexts.attach(context)
    await stub.SubmitRun(runs_pb2.SubmitRunRequest())
    contexts.detach(token)
    assert spans.all == ()
    (carried,) = service.carried
    assert carried["traceparent"].startswith(f"00-{parent().trace_id:032x}-")
    assert carried["traceparent"].endswith("-00")
    assert (carried["tracestate"], carried["baggage"]) == ("a=b", "c=d")
