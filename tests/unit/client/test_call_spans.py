"""The spans of both clients, and what their calls carry, against a server of this test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as contexts
from opentelemetry.trace import SpanKind, StatusCode

from gateway.client import AsyncRunsClient, RunsClient, call_spans
from gateway.core.errors import GatewayError
from gateway.telemetry import tracing
from tests.support.noting_service import RUN_ID, NotingService, serving
from tests.support.traces import MadeSpans, client_spans, parent

SUBMIT = "runs.v1.RunsService/SubmitRun"
GET = "runs.v1.RunsService/GetRun"


class Caller:
    """A client of either kind."""

    def __init__(self, kind: type, address: str) -> None:
        self._kind = kind
        self._address = address

    async def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._kind is RunsClient:
            return await asyncio.to_thread(self._blocking, method, arguments, options)
        async with AsyncRunsClient(self._address) as client:
            called = getattr(client, method)(*arguments, **options)
            return [each async for each in called] if hasattr(called, "__anext__") else await called

    def _blocking(self, method: str, arguments: Any, options: Any) -> Any:
        with RunsClient(self._address) as client:
            called = getattr(client, method)(*arguments, **options)
            return list(called) if hasattr(called, "__next__") else called


@pytest.fixture
def service() -> NotingService:
    return NotingService()


@pytest.fixture
def spans() -> Iterator[MadeSpans]:
    with client_spans() as made:
        yield made


@pytest.fixture(params=[RunsClient, AsyncRunsClient])
async def call(request: pytest.FixtureRequest, service: NotingService) -> AsyncIterator[Caller]:
    async with serving(service) as address:
        yield Caller(request.param, address)


async def test_a_call_is_a_child_of_the_current_span_and_carries_its_own(
    spans: MadeSpans, service: NotingService, call: Caller
) -> None:
    with spans.tracer.start_as_current_span("mine"):
        token = contexts.attach(baggage.set_baggage("who", "me"))
        await call("submit", "f", [1])
        contexts.detach(token)
    made, mine = spans.one(SUBMIT), spans.one("mine")
    assert made.kind is SpanKind.CLIENT
    assert made.parent == mine.context
    assert made.status.status_code is StatusCode.UNSET
    assert made.attributes is not None
    assert made.attributes["rpc.grpc.status_code"] == 0
    assert made.attributes["server.address"] == "127.0.0.1"
    (carried,) = service.carried
    assert carried["traceparent"].startswith(f"00-{made.context.trace_id:032x}-{made.context.span_id:016x}-")
    assert carried["baggage"] == "who=me"


async def test_an_upload_has_one_span(spans: MadeSpans, service: NotingService, call: Caller) -> None:
    await call("submit_stream", "f", [1, 2, 3])
    made = spans.one("runs.v1.RunsService/SubmitRunStream")
    assert f"{made.context.span_id:016x}" in service.carried[0]["traceparent"]
    assert len(spans.all) == 1


async def test_a_stream_has_one_span_over_its_connections(
    spans: MadeSpans, service: NotingService, call: Caller
) -> None:
    service.cuts = 2
    await call("watch", RUN_ID)
    made = spans.one(GET)
    assert [event.name for event in made.events] == ["first message", "resume", "resume", "end"]
    assert made.status.status_code is StatusCode.UNSET
    assert len(service.carried) == 3
    assert len({carried["traceparent"] for carried in service.carried}) == 1


async def test_a_refusal_is_an_error_of_the_span(spans: MadeSpans, service: NotingService, call: Caller) -> None:
    service.refuses = grpc.StatusCode.NOT_FOUND
    with pytest.raises(GatewayError):
        await call("get", RUN_ID)
    made = spans.one(GET)
    assert made.status.status_code is StatusCode.ERROR
    assert made.attributes is not None
    assert made.attributes["error.type"] == "NOT_FOUND"
    assert made.attributes["rpc.grpc.status_code"] == 5
    assert made.events == ()


async def test_a_stream_that_is_left_is_no_error_and_its_span_is_not_current(
    spans: MadeSpans, service: NotingService
) -> None:
    async with (
        serving(service) as address,
        AsyncRunsClient(address) as client,
        aclosing(client.watch(RUN_ID)) as updates,
    ):
        async for _ in updates:
            assert not trace.get_current_span().get_span_context().is_valid
            break
    made = spans.one(GET)
    assert made.status.status_code is StatusCode.UNSET
    assert [event.name for event in made.events] == ["first message"]


async def test_what_is_not_sampled_makes_no_span_and_is_told_on(
    spans: MadeSpans, service: NotingService, call: Caller
) -> None:
    context = tracing.extracted({"traceparent": parent(sampled=False).header, "tracestate": "a=b"})
    assert context is not None
    token = contexts.attach(context)
    await call("submit", "f", [1])
    contexts.detach(token)
    assert spans.all == ()
    (carried,) = service.carried
    assert carried["traceparent"].startswith(f"00-{parent().trace_id:032x}-")
    assert carried["traceparent"].endswith("-00")
    assert carried["tracestate"] == "a=b"


async def test_without_a_set_up_the_context_is_passed_on_as_it_is(service: NotingService, call: Caller) -> None:
    context = tracing.extracted({"traceparent": parent().header})
    assert context is not None
    token = contexts.attach(context)
    await call("submit", "f", [1])
    await call("watch", RUN_ID)
    contexts.detach(token)
    assert [carried["traceparent"] for carried in service.carried] == [parent().header] * 2


async def test_without_a_trace_nothing_is_made(service: NotingService, call: Caller) -> None:
    await call("submit", "f", [1])
    assert "traceparent" not in service.carried[0]
    assert call_spans.CallSpans("").call(SUBMIT) is call_spans.CallSpans("").stream(GET)
