"""Gateways whose own credentials a runtime elsewhere refuses: their clients are not told that theirs are bad."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.access.configured_access import ConfiguredAccess
from gateway.access.granted import Roles
from gateway.access.tokens_file import read_tokens
from gateway.access.watched_file import WatchedFile
from gateway.core.errors import GatewayError
from gateway.core.model import SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import Runtime
from gateway.core.token_file import TokenFile
from gateway.core.upstream_credentials import UpstreamCredentials
from gateway.core.upstream_refusals import UpstreamRefusal
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.runtimes.relay.runtime import RelayRuntime
from gateway.runtimes.stepflow.engine import EngineRequest, EngineRestClient
from gateway.storage.idempotency import Keys
from tests.support.http_front import running_front
from tests.support.identities import token_entry, token_of, write_tokens
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime
from tests.support.upstream import Upstream

Credentials = Callable[[str], UpstreamCredentials]


@pytest.fixture
def access(tmp_path: Path) -> ConfiguredAccess:
    file = write_tokens(tmp_path / "tokens.toml", token_entry("good"), token_entry("reader", ["runs:read"]))
    return ConfiguredAccess(tokens=WatchedFile(str(file), lambda content: read_tokens(content, Roles({})), 10_000))


def write(file: Path, token: str) -> None:
    file.write_text(token)


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """The file with the token that the gateway shows."""
    return tmp_path / "token"


@pytest.fixture(params=["relay", "jsonrpc"])
async def gateway(
    request: pytest.FixtureRequest, access: ConfiguredAccess, shown: Path, tmp_path: Path
) -> AsyncIterator[Callable[[str], Awaitable[Runtime]]]:
    """Makes the runtime of a gateway which shows the token of an identity to another one."""
    upstream = Upstream(ScriptedRuntime(), tmp_path / "upstream.sock", access)
    await upstream.start()
    keys = await Keys.open(":memory:")
    made: list[RelayRuntime | JsonRpcRuntime] = []
    async with running_front(access=access) as front:

        async def start(name: str) -> Runtime:
            write(shown, token_of(name))
            credentials = UpstreamCredentials(token=TokenFile(str(shown), look_seconds=0))
            if request.param == "relay":
                runtime: RelayRuntime | JsonRpcRuntime = RelayRuntime(upstream.address, credentials=credentials)
            else:
                runtime = JsonRpcRuntime(f"http://{front.front.address}/", keys, credentials=credentials)
            made.append(runtime)
            await runtime.connect(10)
            return runtime

        yield start
        for runtime in made:
            await runtime.close()
    await keys.close()
    await upstream.stop()


async def watched(runtime: Runtime) -> None:
    async with aclosing(runtime.watch(MISSING_RUN)) as states:
        async for _ in states:
            raise AssertionError("nothing is to be seen")


def calls_on(runtime: Runtime) -> list[Callable[[], Awaitable[Any]]]:
    return [
        lambda: runtime.get(MISSING_RUN),
        lambda: watched(runtime),
        lambda: runtime.submit(SubmitParams(flow_id=f"sha256:{'0' * 64}", inputs=["1"]), ""),
        lambda: runtime.put_blob(FLOW),
        lambda: runtime.get_blob(f"sha256:{'0' * 64}"),
        lambda: runtime.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, "", 1),
        lambda: runtime.cancel(MISSING_RUN, None),
        lambda: runtime.delete(MISSING_RUN, cancel=False),
    ]


async def test_no_call_tells_clients_that_their_credentials_are_bad(
    gateway: Callable[[str], Awaitable[Runtime]], shown: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = await gateway("unknown")
    for call in calls_on(runtime):
        with pytest.raises(UpstreamRefusal, match="does not accept the credentials of this gateway") as refused:
            await call()
        assert refused.value.retry_after == 1.0
    assert runtime.readiness.upstream_is_away()
    (record,) = [record for record in caplog.records if record.name == "gateway.core.upstream_refusals"]
    assert "--upstream-token-file" in record.getMessage()
    assert token_of("unknown") not in caplog.text
    write(shown, token_of("good"))
    while runtime.readiness.upstream_is_away():  # noqa: ASYNC110 - it asks by itself, and tells nobody
        await asyncio.sleep(0.01)
    with pytest.raises(GatewayError, match="no run"):
        await runtime.get(MISSING_RUN)
    assert "accepts the credentials of this gateway now" in caplog.text


async def test_what_is_not_permitted_to_the_gateway_is_told_so_and_all_else_goes_on(
    gateway: Callable[[str], Awaitable[Runtime]],
) -> None:
    runtime = await gateway("reader")
    for call in (lambda: runtime.put_blob(FLOW), lambda: runtime.cancel(MISSING_RUN, None)):
        with pytest.raises(UpstreamRefusal, match="does not permit this to this gateway: the permission"):
            await call()
    with pytest.raises(GatewayError, match="no run"):
        await runtime.get(MISSING_RUN)
    assert not runtime.readiness.upstream_is_away()


@pytest.mark.parametrize(("status", "known"), [(401, False), (403, True), (407, False)])
async def test_a_proxy_before_an_engine_or_a_server_that_refuses_the_gateway(status: int, known: bool) -> None:
    application = web.Application()

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>who are you?</html>")

    application.router.add_route("*", "/{path:.*}", refuse)
    async with TestServer(application) as proxy:
        engine = EngineRestClient(str(proxy.make_url("/")))
        with pytest.raises(UpstreamRefusal) as refused:
            await engine.request(EngineRequest("GET", "/runs", 10, repeatable=True))
        assert refused.value.known is known
        assert engine.is_away() is not known
        with pytest.raises(UpstreamRefusal):
            async with engine.events("/runs"):
                pass
        await engine.close()
        keys = await Keys.open(":memory:")
        runtime = JsonRpcRuntime(str(proxy.make_url("/")), keys)
        assert not await runtime.connect(10)
        with pytest.raises(UpstreamRefusal):
            await runtime.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, "", 1)
        await runtime.close()
        await keys.close()
