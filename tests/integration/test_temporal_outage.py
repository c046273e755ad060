"""The Temporal server, or the storage, is away while gateways are under load: all goes on when it is back."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.conftest import command
from tests.support import sdk
from tests.support.component_server import Call, ComponentServer
from tests.support.load import LONG, Load
from tests.support.s3_server import S3Server
from tests.support.session import started_with
from tests.support.temporal_gateways import TemporalGateway, temporal_gateways
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

SECONDS = float(started_with().get("OUTAGE_SECONDS", "12"))
"""How long the outage takes: longer than calls wait. By hand, more of it shows more."""

CLIENTS = int(started_with().get("OUTAGE_CLIENTS", "12"))
"""How many clients there are, each of which always has a run of its own."""

ENOUGH = 2 * CLIENTS
"""How many runs have ended before the outage, and how many end after it."""

PROBLEMS = 50
"""How many lines of an outage there are in the log of a gateway, at most: two a minute of each kind of call."""

HANDSHAKE = {
    "initialize": {"serverProtocolVersion": 1},
    "components/list": {"components": [{"component": "/echo"}, {"component": "/long"}]},
}


def calls(component: str) -> dict[str, Any]:
    """A flow whose result is what a component has made of the input."""
    step = {"id": "s", "component": component, "input": {"$input": "$"}}
    return {"steps": [step], "output": {"$step": "s"}}


def around(flow: dict[str, Any]) -> dict[str, Any]:
    """A flow that runs another one in a run of its own."""
    given = {"workflow": {"$literal": flow}, "items": [{"$input": "$"}]}
    step = {"id": "m", "component": "/builtin/map", "input": given}
    return {"steps": [step], "output": {"$step": "m", "path": "$.results[0].result"}}


ECHO = calls("/test/echo")
STORES = {
    "steps": [{"id": "s", "component": "/sdk/blobs", "input": {"data": {"$input": "$"}}}],
    "output": {"$step": "s", "path": "$.data"},
}
"""Its component stores a blob and reads it."""

SUBMITS = {
    "steps": [
        {"id": "s", "component": "/sdk/orchestrator", "input": {"flow": {"$literal": ECHO}, "items": [{"$input": "$"}]}}
    ],
    "output": {"$step": "s", "path": "$.results[0].result"},
}
"""Its component stores a flow, and submits a run of it."""

FLOWS = [ECHO, calls("/test/long"), around(ECHO), STORES, SUBMITS]

_log = logging.getLogger(__name__)


async def answer(call: Call) -> None:
    params = call.message["params"]
    output = params["input"]
    if params["component"] == "/long":
        output = {**output, "long": "x" * LONG}
    await call.result({"output": output})


@pytest.fixture
async def component() -> AsyncIterator[str]:
    async with ComponentServer(answer, HANDSHAKE).running() as url:
        yield url


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    server = TemporalServer(tmp_path)
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def gateways(
    server: TemporalServer, s3_server: S3Server, component: str, sdk_python: Callable[[str], Path], tmp_path: Path
) -> AsyncIterator[list[TemporalGateway]]:
    sdk_server = command(sdk.SERVER, python=sdk_python("0.11.2"))
    components = ("--component", f"/test={component}", "--component", f"/sdk={sdk_server}")
    arguments = ("--runtime", server.runtime(), "--blobs", s3_server.url, *components)
    async with temporal_gateways(tmp_path, 3, *arguments, env=s3_server.environment()) as gateways:
        yield gateways


async def away(what: TemporalServer | S3Server, *, hangs: bool) -> tuple[float, float]:
    """Let a server be away for a time; from when until when."""
    began = time.monotonic()
    if hangs:
        what.pause()
    else:
        await asyncio.to_thread(what.end if isinstance(what, TemporalServer) else what.kill)
    await asyncio.sleep(SECONDS)
    if hangs:
        what.go_on()
    else:
        await asyncio.to_thread(what.launch)
    return began, time.monotonic()


@pytest.mark.parametrize("hangs", [False, True], ids=["killed", "hangs"])
@pytest.mark.parametrize("what", ["engine", "storage"])
async def test_all_goes_on_after_an_outage(
    server: TemporalServer,
    s3_server: S3Server,
    gateways: list[TemporalGateway],
    what: str,
    *,
    hangs: bool,
) -> None:
    pids = [each.pid for each in gateways]
    addresses = [each.grpc for each in gateways], [each.http for each in gateways]
    async with Load(*addresses, FLOWS) as load, asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(load.go_on(f"client {number}"))
        await load.ends(ENOUGH)
        began, back = await away(server if what == "engine" else s3_server, hangs=hangs)
        first, later = await load.ends(1, back), await load.ends(ENOUGH, back)
        load.stop()
    assert [each.pid for each in gateways] == pids
    for each in gateways:
        assert await is_ready(each)
        problems = [line for line in each.log.read_text().splitlines() if " INFO " not in line]
        assert len(problems) <= PROBLEMS, problems
        assert not [line for line in problems if " WARNING " not in line]
    times = [at - back for at in (load.answered_since(back), first, later)]
    _log.info("since the return: all calls answered %.1f s, a run %.1f s, %d runs %.1f s", *times[:2], ENOUGH, times[2])
    for line in load.told(began):
        _log.info("%s", line)


async def is_ready(gateway: TemporalGateway) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"http://{gateway.http}/readyz") as answer:
        return answer.status == 200
