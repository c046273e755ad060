"""What `deploy/compose.yaml` starts: its commands as processes, over a real engine, behind haproxy with its file."""

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gateway.client import AsyncRunsClient
from tests.support.command_line import CommandLine, Serving, finish
from tests.support.engine import Engine
from tests.support.free_port import free_port
from tests.support.programs import program

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
FRONTS: Final = ("gateway-1", "gateway-2")
RELEASE: Final = "0.13.0"
FLOW: Final = {"steps": [], "output": {"$input": "$"}}


class Places:
    """Ports of this machine in the place of hosts of the network of containers."""

    def __init__(self, engine: Engine) -> None:
        self._places = {"engine:7840": f"127.0.0.1:{engine.port}", ":50050": f"127.0.0.1:{free_port()}"}
        for name in (*FRONTS, "keys"):
            self._places |= {f"{name}:{port}": f"127.0.0.1:{free_port()}" for port in (50051, 8080)}

    def __getitem__(self, place: str) -> str:
        return self._places[place]

    def put_into(self, text: str) -> str:
        """The text with the places of this machine."""
        for old, new in self._places.items():
            text = re.sub(rf"(?<![\w.]){re.escape(old)}\b", new, text)
        return text


@asynccontextmanager
async def serving(name: str, places: Places, folder: Path) -> AsyncIterator[Serving]:
    """The gateway of a service, with its flags, until the block is left."""
    command, *flags = map(places.put_into, SERVICES[name]["command"])
    assert command == "serve"
    home = folder / name
    home.mkdir()
    grpc, http = places[f"{name}:50051"], places[f"{name}:8080"]
    async with CommandLine(home).serving(*flags, grpc=grpc, http=http) as started:
        yield started


@asynccontextmanager
async def balancing(places: Places, folder: Path) -> AsyncIterator[str]:
    """The load balancer, until the block is left; its address."""
    file = folder / "haproxy.cfg"
    text = places.put_into((DEPLOY / "haproxy.cfg").read_text(encoding="utf-8"))
    # It looks at the HTTP port of each gateway, which differs here.
    for name in FRONTS:
        http = places[f"{name}:8080"].rpartition(":")[2]
        text = re.sub(rf"(server \w+ {places[f'{name}:50051']} proto h2)", rf"\1 port {http}", text)
    file.write_text(text, encoding="utf-8")
    haproxy = program("haproxy", "haproxy")
    process = await asyncio.create_subprocess_exec(haproxy, "-db", "-f", str(file), env={"PATH": os.defpath})
    try:
        yield places[":50050"]
    finally:
        process.terminate()
        await process.wait()


def test_services_that_are_waited_for_are_there() -> None:
    for service in SERVICES.values():
        assert {*service.get("depends_on", ())} <= {*SERVICES}
    named = re.findall(r"server \w+ ([\w-]+):", (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8"))
    assert {*named} == {*FRONTS}
    mounted = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    files = [volume.partition(":")[0].removeprefix("./") for volume in mounted if volume.startswith("./")]
    assert sorted(files) == ["engine.yaml", "haproxy.cfg"]
    assert all((DEPLOY / file).is_file() for file in files)


def test_haproxy_takes_its_configuration() -> None:
    haproxy = program("haproxy", "haproxy")
    subprocess.run([haproxy, "-c", "-q", "-f", str(DEPLOY / "haproxy.cfg")], check=True)


@pytest.mark.slow
async def test_a_run_is_found_by_its_key_at_each_gateway(tmp_path: Path) -> None:
    text = (DEPLOY / "engine.yaml").read_text(encoding="utf-8").replace("/var/lib/stepflow", str(tmp_path))
    engine = Engine(RELEASE, tmp_path, yaml.safe_load(text))
    assert f"stepflow-orchestrator=={RELEASE}" in SERVICES["engine"]["build"]["dockerfile_inline"]
    async with asyncio.timeout(200), AsyncExitStack() as stack:
        await engine.start("--orchestrator-id", "engine")
        stack.push_async_callback(engine.stop)
        places = Places(engine)
        await stack.enter_async_context(serving("keys", places, tmp_path))
        fronts = [await stack.enter_async_context(serving(name, places, tmp_path)) for name in FRONTS]
        address = await stack.enter_async_context(balancing(places, tmp_path))
        client = await stack.enter_async_context(AsyncRunsClient(address))
        flow = await client.put_flow(FLOW)
        first = await client.submit_and_wait(flow, [1, 2], idempotency_key="nightly")
        assert first.finished
        for front in fronts:
            async with AsyncRunsClient(front.grpc, retry_for=0) as direct:
                assert (await direct.submit(flow, [1, 2], idempotency_key="nightly")).run_id == first.run_id
        # One gateway stops; the client of the load balancer notices nothing.
        fronts[0].process.terminate()
        assert (await client.submit(flow, [1, 2], idempotency_key="nightly")).run_id == first.run_id
        assert (await finish(fronts[0].process)).code == 0
        assert (await client.get(first.run_id)).run_id == first.run_id
