"""What a call on the engine leaves behind: numbers, a span, and an error for clients."""

import asyncio
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from gateway.core.errors import Overloaded
from gateway.core.upstream_refusals import UpstreamRefusal, UpstreamRefusals
from gateway.runtimes.temporal import engine_call
from gateway.runtimes.temporal.engine_call import EngineCall
from gateway.runtimes.temporal.engine_errors import EngineAbsent, NoSuchWorkflow
from gateway.runtimes.temporal.presence import EnginePresence
from gateway.telemetry import tracing
from gateway.telemetry.semconv import SpanAttributes
from tests.support.spans import recorded_spans

METHOD = "StartWorkflowExecution"
NAME = f"{engine_call.SERVICE}/{METHOD}"


class Site:
    """An engine that is there."""

    def __init__(self) -> None:
        self.presence = EnginePresence("engine:1", self._look)
        self.refusals = UpstreamRefusals("the engine", "engine:1")
        self.server_attributes: SpanAttributes = {"server.address": "engine", "server.port": 1}
        self.client = cast("Client", object())
        self.looked = asyncio.Event()

    async def _look(self) -> None:
        self.looked.set()


def rpc_error(status: RPCStatusCode) -> RPCError:
    return RPCError("said by the engine", status, b"")


async def call(site: Site, error: BaseException | None = None, **options: Any) -> None:
    async with EngineCall(site, METHOD, **options) as client:
        assert client is site.client
        if error is not None:
            raise error


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch):
    cells = engine_call._CALLS.cells
    before = {name: cell.value for name, cell in cells.items()}
    return lambda: {name: cell.value - before[name] for name, cell in cells.items() if cell.value != before[name]}


@pytest.mark.parametrize(
    ("error", "kind", "outcome", "code"),
    [
        (None, None, "ok", 0),
        (rpc_error(RPCStatusCode.UNAVAILABLE), EngineAbsent, "unavailable", 14),
        (rpc_error(RPCStatusCode.NOT_FOUND), NoSuchWorkflow, "error", 5),
        (rpc_error(RPCStatusCode.RESOURCE_EXHAUSTED), Overloaded, "error", 8),
        (rpc_error(RPCStatusCode.PERMISSION_DENIED), UpstreamRefusal, "unavailable", 7),
        (rpc_error(RPCStatusCode.FAILED_PRECONDITION), RPCError, "error", 9),
        (WorkflowAlreadyStartedError("a", "b"), WorkflowAlreadyStartedError, "error", 6),
        (asyncio.CancelledError(), asyncio.CancelledError, "cancelled", 1),
        (KeyError(), KeyError, "error", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_each_end_is_counted_and_belongs_to_the_trace(error, kind, outcome, code, cells) -> None:
    with recorded_spans() as spans:
        with tracing.span("caller"):
            if kind is None:
                await call(Site())
            else:
                with pytest.raises(kind):
                    await call(Site(), error)
        span = spans.only(NAME)
    assert cells() == {outcome: 1}
    assert span.attributes is not None
    assert span.attributes.get("rpc.grpc.status_code") == code
    assert (span.attributes["rpc.method"], span.attributes["server.address"]) == (METHOD, "engine")
    assert span.status.is_ok is (code in (0, 1))
    assert "said by the engine" not in repr(span.attributes) + repr(span.status.description)
    assert spans.way(span) == ["caller", NAME]


async def test_a_call_that_waits_for_something_is_not_counted(cells) -> None:
    await call(Site(), waits=True)
    with pytest.raises(EngineAbsent):
        await call(Site(), rpc_error(RPCStatusCode.UNAVAILABLE), waits=True)
    assert cells() == {}


async def test_what_belongs_to_no_trace_has_no_span() -> None:
    with recorded_spans() as spans:
        await call(Site())
    assert spans.all() == ()


@pytest.mark.parametrize("status", [RPCStatusCode.UNAVAILABLE, RPCStatusCode.CANCELLED, RPCStatusCode.UNAUTHENTICATED])
async def test_after_a_call_without_an_answer_the_engine_is_looked_for(status: RPCStatusCode) -> None:
    site = Site()
    await call(site)
    site.looked.clear()
    with pytest.raises((EngineAbsent, UpstreamRefusal)):
        await call(site, rpc_error(status))
    await site.looked.wait()
    await call(site)
    await site.presence.close()


@pytest.mark.parametrize("status", [RPCStatusCode.NOT_FOUND, RPCStatusCode.PERMISSION_DENIED])
async def test_after_an_answer_it_is_not(status: RPCStatusCode) -> None:
    site = Site()
    await call(site)
    with pytest.raises((NoSuchWorkflow, UpstreamRefusal)):
        await call(site, rpc_error(status))
    assert site.presence.is_here
