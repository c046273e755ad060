"""The Temporal server, or the storage, is away while gateways are under load: all goes on when it is back."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.component_server import Call, ComponentServer
from tests.support.load import LONG, Load
from tests.support.s3_server import S3Server
from tests.support.temporal_gateways import TemporalGateway, temporal_gateways
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "12"))
"""How long the outage takes: longer than calls wait. By hand, more of it shows more."""

CLIENTS = int(os.environ.get("OUTAGE_CLIENTS", "12"))
"""How many clients there are, each of which always has a run of its own."""

ENOUGH = 2 * CLIENTS
"""How many runs have ended before the outage, and how many end after it."""

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


FLOWS = [calls("/test/echo"), calls("/test/long"), around(calls("/test/echo"))]


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
    server: TemporalServer, s3_server: S3Server, component: str, tmp_path: Path
) -> AsyncIterator[list[TemporalGateway]]:
    arguments = ("--runtime", server.runtime(), "--blobs", s3_server.url, "--component", f"/test={component}")
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
    record_property: Callable[[str, object], None],
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
        assert not [line for line in each.log.read_text().splitlines() if " ERROR " in line]
    record_property("first run after", round(first - back, 2))
    record_property(f"{ENOUGH} runs after", round(later - back, 2))
    record_property("all had an answer after", round(load.answered_since(back) - back, 2))
    for line in load.told(began):
        record_property("calls", line)


async def is_ready(gateway: TemporalGateway) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"http://{gateway.http}/readyz") as answer:
        return answer.status == 200
