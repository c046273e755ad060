"""Servers that refuse a request before they have read it, and reset the connection: callers learn why, every time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus

import pytest
import uvloop

from gateway.components.error import Code, ComponentError
from gateway.components.exchange import Address, Exchange, notify
from gateway.components.requests import ComponentRequests
from gateway.core.errors import GatewayError
from gateway.core.model import Blob, BlobType, JsonText, SubmitParams
from gateway.peers.http.client import client_session
from gateway.runtimes.jsonrpc.dialect import Dialect
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.wire_format import WireFormat
from gateway.storage.idempotency import Keys
from tests.support.early_server import EarlyServer, Explanation

CALLS = 200
CALLS_UNEXPLAINED = 24
AT_ONCE = 8
TEXTS = tuple('"' + "x" * size + '"' for size in (*[3_000_000] * 7, 20_000_000))
FLOW_ID = "sha256:" + "a" * 64

Call = Callable[[JsonText], Awaitable[object]]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take seconds to connect, which is not the matter here."""
    for module in ("jsonrpc.upstream", "stepflow.engine"):
        monkeypatch.setattr(f"gateway.runtimes.{module}.CONNECT_SECONDS", 60.0)


_UPSTREAM = "the upstream has answered with the HTTP status"
_ENGINE = "the engine answered with HTTP status"
REFUSALS = {
    "upstream": {
        413: "PAYLOAD_TOO_LARGE: the message is larger than the upstream takes",
        401: "UNAVAILABLE: the upstream does not accept the credentials of this gateway",
        429: f"OVERLOADED: {_UPSTREAM} 429",
        503: f"UNAVAILABLE: {_UPSTREAM} 503",
    },
    "engine": {
        413: "PAYLOAD_TOO_LARGE: the message is larger than the engine takes; releases 0.10 and 0.11 take 2 MB",
        401: "UNAVAILABLE: the engine does not accept the credentials of this gateway",
        429: f"OVERLOADED: {_ENGINE} 429: refused early",
        503: "UNAVAILABLE: the engine cannot be reached through its proxy",
    },
    "component server": {
        status: f"PROTOCOL_BROKEN: the component server answered with HTTP status {status}"
        for status in (413, 401, 429, 503)
    },
}
"""What calls to each kind of server end with, by the HTTP status of the early answer."""


@asynccontextmanager
async def upstream(url: str, dialect: Dialect) -> AsyncIterator[JsonRpcRuntime]:
    keys = await Keys.open(":memory:")
    # Without patience: else an upstream that is not available is called again and again.
    runtime = JsonRpcRuntime(url, keys, dialect=dialect, patience=0.0)
    assert await runtime.connect(60.0)
    yield runtime
    await runtime.close()
    await keys.close()


@asynccontextmanager
async def submits(url: str) -> AsyncIterator[Call]:
    async with upstream(url, Dialect.DOCUMENT) as runtime:
        yield lambda text: runtime.submit(SubmitParams(flow_id=FLOW_ID, inputs=[text]), "")


@asynccontextmanager
async def blobs(url: str) -> AsyncIterator[Call]:
    async with upstream(url, Dialect.DOCUMENT) as runtime:
        yield lambda text: runtime.put_blob(Blob(text, BlobType.DATA))


@asynccontextmanager
async def blobs_by_rest(url: str) -> AsyncIterator[Call]:
    async with upstream(url, Dialect.V0_10) as runtime:
        yield lambda text: runtime.put_blob(Blob(text, BlobType.DATA))


@asynccontextmanager
async def submits_to_an_engine(url: str) -> AsyncIterator[Call]:
    client = EngineRestClient(url)
    runs = Runs(client, Release("0.11.1", WireFormat.LEGACY))
    yield lambda text: runs.submit(SubmitParams(flow_id=FLOW_ID, inputs=[text]))
    await client.close()


@asynccontextmanager
async def executions(url: str) -> AsyncIterator[Call]:
    async with client_session(idle_seconds=1.0) as session:
        address = Address(session, url, ComponentRequests())
        yield lambda text: Exchange(address).call("components/execute", {"input": text})


@asynccontextmanager
async def notifications(url: str) -> AsyncIterator[Call]:
    async with client_session(idle_seconds=1.0) as session:
        address = Address(session, url, ComponentRequests())
        yield lambda text: notify(address, "initialized", {"input": text})


async def outcomes(opened: AbstractAsyncContextManager[Call], calls: int) -> Counter[str]:
    """What so many calls end with, some of them at once."""
    bound = asyncio.Semaphore(AT_ONCE)

    async def outcome(index: int) -> str:
        async with bound:
            try:
                await call(TEXTS[index % len(TEXTS)])
            except GatewayError as error:
                return f"{error.reason}: {error.message}"
            except ComponentError as error:
                return f"{Code(error.code).name}: {error.message}"
            raise AssertionError("the call was not refused")

    async with opened as call:
        return Counter(await asyncio.gather(*map(outcome, range(calls))))


every_kind_of_call = pytest.mark.parametrize(
    ("opened", "peer"),
    [
        (submits, "upstream"),
        (blobs, "upstream"),
        (blobs_by_rest, "upstream"),
        (submits_to_an_engine, "engine"),
        (executions, "component server"),
        (notifications, "component server"),
    ],
)


@pytest.mark.parametrize("status", [413, 401, 429, 503])
@every_kind_of_call
def test_a_refusal_before_the_end_of_the_request_is_told(
    opened: Callable[[str], AbstractAsyncContextManager[Call]], peer: str, status: int
) -> None:
    with (
        EarlyServer(HTTPStatus(status)).running() as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        assert runner.run(outcomes(opened(server.url), CALLS)) == {REFUSALS[peer][status]: CALLS}


@pytest.mark.parametrize("explanation", [Explanation.CUT, Explanation.ENDLESS])
@pytest.mark.parametrize("status", [413, 503])
@every_kind_of_call
def test_the_status_of_a_refusal_counts_without_a_whole_body(
    opened: Callable[[str], AbstractAsyncContextManager[Call]],
    peer: str,
    status: int,
    explanation: Explanation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if explanation is Explanation.ENDLESS:
        monkeypatch.setattr("gateway.peers.http.client.REFUSAL_SECONDS", 0.01)
    with (
        EarlyServer(HTTPStatus(status), explanation=explanation).running() as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        found = runner.run(outcomes(opened(server.url), CALLS_UNEXPLAINED))
    assert found == {REFUSALS[peer][status]: CALLS_UNEXPLAINED}
