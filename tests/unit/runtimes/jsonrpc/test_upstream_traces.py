"""The trace of a call goes on to a JSON-RPC server by headers alone: a strict one takes no members of others."""

from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from gateway.core.errors import RunNotFound
from gateway.core.model import SubmitParams, blob_id_of
from gateway.runtimes.jsonrpc.dialect import Dialect
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.storage.idempotency import Keys
from gateway.telemetry import tracing
from tests.support.component_server import Call, ComponentServer
from tests.support.traces import MadeSpans, child_of, gateway_spans

RUN = "11111111-2222-4333-8444-555555555555"
FLOW = blob_id_of("ab" * 32)
STATUS = {
    "runId": RUN,
    "flowId": FLOW,
    "status": "running",
    "items": {"total": 1, "pending": 0, "running": 1, "success": 0, "failed": 0, "cancelled": 0},
    "createdAt": "2025-01-15T10:30:00Z",
}


@pytest.fixture
def spans() -> Iterator[MadeSpans]:
    with gateway_spans() as made:
        yield made


class Upstream(ComponentServer):
    """A server that accepts runs, and knows none."""

    def __init__(self) -> None:
        super().__init__(self._answer, handshake={})

    async def _answer(self, call: Call) -> None:
        if call.message["method"] == "runs/submit":
            await call.result(STATUS)
        else:
            await call.error(-32000, "run not found")

    def of(self, method: str) -> list[Call]:
        """The calls of a method."""
        return [call for call in self.calls if call.message["method"] == method]


@pytest.fixture
async def server() -> AsyncIterator[Upstream]:
    server = Upstream()
    async with server.running():
        yield server


@pytest.fixture
async def runtime(server: Upstream) -> AsyncIterator[JsonRpcRuntime]:
    keys = await Keys.open(":memory:")
    runtime = JsonRpcRuntime(server.url, keys, dialect=Dialect.V0_10)
    yield runtime
    await runtime.close()
    await keys.close()


@pytest.mark.parametrize("key", [None, "key"])
async def test_a_submit_carries_its_span(
    spans: MadeSpans, runtime: JsonRpcRuntime, server: Upstream, key: str | None
) -> None:
    with tracing.span("served"):
        await runtime.submit(SubmitParams(flow_id=FLOW, inputs=["1"], idempotency_key=key), "")
    made = spans.one("runs/submit")
    assert child_of(made, spans.one("served"))
    assert made.kind is SpanKind.CLIENT
    (submit,) = server.of("runs/submit")
    assert made.context is not None
    assert f"-{made.context.span_id:016x}-" in submit.headers["traceparent"]
    assert "_meta" not in submit.message["params"]


async def test_a_refusal_is_an_error_of_the_span_and_probes_are_of_no_trace(
    spans: MadeSpans, runtime: JsonRpcRuntime, server: Upstream
) -> None:
    with tracing.span("served"), pytest.raises(RunNotFound):
        await runtime.get(RUN)
    made = spans.one("runs/get")
    assert made.status.status_code is StatusCode.ERROR
    assert made.attributes is not None
    assert made.attributes["error.type"] == "-32000"
    probe, asked = server.of("runs/get")
    assert "traceparent" not in probe.headers
    assert "traceparent" in asked.headers


async def test_nothing_is_sent_while_tracing_is_off(runtime: JsonRpcRuntime, server: Upstream) -> None:
    await runtime.submit(SubmitParams(flow_id=FLOW, inputs=["1"]), "")
    (submit,) = server.of("runs/submit")
    assert "traceparent" not in submit.headers
