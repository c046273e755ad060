"""One owner: a second gateway is refused in one line, and the first one notices nothing."""

import asyncio
import json
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.core.model import Blob, BlobType, RunState, SubmitParams
from gateway.server.app import running
from gateway.server.settings import ServeSettings, StartError
from tests.integration.conftest import Start
from tests.support.clients import GrpcClient
from tests.support.command_line import CommandLine, Finished
from tests.support.component_server import Call, ComponentServer
from tests.support.tasks import LIMIT

TRANSPORTS = ["grpcio", "native"]
ITEMS = 60
FLOW = {
    "steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}
FREE = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
ELSEWHERE = ("--runtime", "jsonrpc+http://127.0.0.1:1")


@pytest.fixture
def home(home: Path) -> Path:
    (home / "first").mkdir()
    return home


@pytest.fixture
def commands(home: Path) -> CommandLine:
    return CommandLine(home)


class Counted:
    """A component server that counts how often each item is executed, and answers when it is let."""

    def __init__(self) -> None:
        self.executions: list[Any] = []
        self.begun = asyncio.Event()
        self.released = asyncio.Event()
        self.server = ComponentServer(self._answer)

    async def _answer(self, call: Call) -> None:
        self.executions.append(call.message["params"]["input"])
        self.begun.set()
        await self.released.wait()
        await call.result({"output": call.message["params"]["input"]})


@pytest.fixture
async def counted() -> AsyncIterator[Counted]:
    counted = Counted()
    async with counted.server.running():
        yield counted


def other_names(path: Path) -> list[Path]:
    """Names that lead to the same file."""
    folder = path.parent
    symbolic, hard, linked = folder / "symbolic", folder / "hard", folder.with_name("linked")
    symbolic.symlink_to(path.name)
    hard.hardlink_to(path)
    linked.symlink_to(folder.name)
    dotted = Path(f"{folder}/../{folder.name}/{path.name}")
    return [path, symbolic, hard, linked / path.name, dotted, Path(os.path.relpath(path))]


async def refused_here(line: str, **settings: Any) -> None:
    """A second gateway, in this process, does not start."""
    free = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    with pytest.raises(StartError) as caught:
        async with running(ServeSettings.model_validate({**free, **settings})):
            pass
    assert str(caught.value) == line


def refused(finished: Finished, line: str) -> None:
    assert (finished.code, finished.out, finished.err) == (1, "", f"error: {line}\n")


async def serves(address: str) -> bool:
    """Whether a gateway answers at an address."""
    async with aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=LIMIT)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def serves_http(path: Path) -> bool:
    """Whether a gateway answers at a unix socket."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as http,
        http.get("http://unix/health") as response,
    ):
        return response.status == 200


@pytest.mark.parametrize("mode", [(), ("--workers", "2")], ids=["one process", "workers"])
async def test_a_state_has_one_owner_and_each_item_executes_once(
    mode: tuple[str, ...], commands: CommandLine, counted: Counted, home: Path
) -> None:
    state = home / "first" / "runs.db"
    component = ("--component", f"/test={counted.server.url}")
    async with commands.serving(*mode, *component, "--state", str(state)) as serving:
        client = GrpcClient(serving.grpc)
        flow_id = await client.put_blob(Blob(json.dumps(FLOW), BlobType.FLOW))
        params = SubmitParams(flow_id=flow_id, inputs=[str(n) for n in range(ITEMS)], wait=True)
        submitted = asyncio.create_task(client.submit(params))
        await counted.begun.wait()
        for name in other_names(state):
            await refused_here(f"the state {name} is in use by another process (--state)", state=str(name))
        second = await commands.run("serve", *mode, *FREE, *component, "--state", str(state))
        refused(second, f"the state {state} is in use by another process (--state)")
        counted.released.set()
        run = await submitted
        assert (run.status, sorted(counted.executions)) == (RunState.SUCCESS, list(range(ITEMS)))
        await client.close()


async def test_the_keys_for_a_runtime_elsewhere_have_one_owner_too(commands: CommandLine, home: Path) -> None:
    state = home / "first" / "keys.db"
    bridge = ("--engine", "http://127.0.0.1:1", "--queue", "q", "--component", "/a=http://127.0.0.1:1")
    async with commands.serving(*ELSEWHERE, "--state", str(state)) as serving:
        for name in other_names(state)[:3]:
            line = f"the state {name} is in use by another process (--state)"
            await refused_here(line, runtime=ELSEWHERE[1], state=str(name))
        refused(await commands.run("bridge", *bridge, "--state", str(name)), line)
        assert await serves(serving.grpc)


async def test_the_lock_ends_with_a_process_that_is_killed(commands: CommandLine, home: Path) -> None:
    state, link = home / "first" / "runs.db", home / "link.db"
    async with commands.serving("--state", str(state)) as serving:
        link.symlink_to(state)
        serving.process.kill()
        await serving.process.wait()
        async with commands.serving("--state", str(link)) as second:
            assert await serves(second.grpc)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("runtime", ["embedded", "relay"])
async def test_a_socket_has_one_owner(
    transport: str, runtime: str, commands: CommandLine, start: Start, home: Path
) -> None:
    grpc, http = home / "first" / "grpc.sock", home / "first" / "http.sock"
    upstream = await start()
    what = {"state": ":memory:"} if runtime == "embedded" else {"runtime": f"grpc://{upstream.addresses.grpc}"}
    flags = [part for name, value in {"transport": transport, **what}.items() for part in (f"--{name}", value)]
    first = commands.serving(*flags, grpc=f"unix:{grpc}", http=f"unix:{http}")
    (home / "linked").symlink_to("first")
    (home / "first" / "link.sock").symlink_to("grpc.sock")
    folders = [home / "first", home / "linked", Path(f"{home}/./first/../first")]
    async with first as serving:
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (grpc, http)]
        assert modes == [0o660, 0o660]
        looked = [os.stat(path).st_ino for path in (grpc, http)]
        for front, name in [
            *(("grpc", folder / "grpc.sock") for folder in folders),
            *(("http", folder / "http.sock") for folder in folders),
            ("grpc", home / "first" / "link.sock"),
        ]:
            line = f"cannot listen on unix:{name}: Address already in use (--{front}-address)"
            await refused_here(line, **what, transport=transport, **{f"{front}_address": f"unix:{name}"})
        second = await commands.run("serve", *flags, "--grpc-address", "127.0.0.1:0", "--http-address", serving.http)
        refused(second, f"cannot listen on {serving.http}: Address already in use (--http-address)")
        assert [os.stat(path).st_ino for path in (grpc, http)] == looked
        assert await serves(serving.grpc)
        assert await serves_http(http)
    assert sorted(os.listdir(home / "first")) == ["link.sock"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_socket_of_a_gateway_that_was_killed_is_replaced(
    transport: str, commands: CommandLine, home: Path
) -> None:
    grpc, http = f"unix:{home}/grpc.sock", f"unix:{home}/http.sock"
    arguments = ("--state", ":memory:", "--transport", transport)
    async with commands.serving(*arguments, grpc=grpc, http=http) as first:
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
        async with commands.serving(*arguments, grpc=grpc, http=http) as second:
            assert await serves(second.grpc)
            assert await serves_http(home / "http.sock")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("front", ["grpc", "http"])
async def test_what_is_no_socket_is_left_as_it_is(front: str, transport: str, home: Path) -> None:
    path = home / "notes"
    path.write_text("mine")
    line = f"cannot listen on unix:{path}: something that is not a socket is there (--{front}-address)"
    await refused_here(line, state=":memory:", transport=transport, **{f"{front}_address": f"unix:{path}"})
    assert path.read_text() == "mine"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_of_gateways_that_start_at_once_one_has_the_sockets(
    transport: str, commands: CommandLine, home: Path
) -> None:
    flags = ("--grpc-address", f"unix:{home}/grpc.sock", "--http-address", f"unix:{home}/http.sock")
    arguments = ("serve", "--state", ":memory:", "--transport", transport, "--json", "--log-level", "warning", *flags)
    started = [await commands.start(*arguments) for _ in range(3)]
    outputs = [process.stdout for process in started if process.stdout is not None]
    lines = [json.loads(line) for line in await asyncio.gather(*(out.readline() for out in outputs)) if line]
    assert [line["grpc"] for line in lines] == [f"unix:{home}/grpc.sock"]
    assert await serves(lines[0]["grpc"])
    assert await serves_http(home / "http.sock")
    for process in started:
        if process.returncode is None:
            process.terminate()
    ends = [await process.communicate() for process in started]
    assert sorted(process.returncode or 0 for process in started) == [0, 1, 1]
    assert all(err == b"" or err.endswith(b"Address already in use (--http-address)\n") for _, err in ends)


@pytest.mark.parametrize("mode", [("--transport", name) for name in TRANSPORTS] + [("--workers", "2")], ids=str)
async def test_all_addresses_are_those_of_both_families(mode: tuple[str, ...], commands: CommandLine) -> None:
    async with commands.serving("--state", ":memory:", "--insecure", *mode, grpc="[::]:0", http="[::]:0") as serving:
        ports = [int(address.rpartition(":")[2]) for address in (serving.grpc, serving.http)]
        for host in ("127.0.0.1", "::1"):
            for port in ports:
                with socket.create_connection((host, port), LIMIT):
                    pass
        for front, port in zip(("grpc", "http"), ports, strict=True):
            for host in ("0.0.0.0", "127.0.0.1", "[::1]"):
                line = f"cannot listen on {host}:{port}: Address already in use (--{front}-address)"
                await refused_here(line, state=":memory:", **{f"{front}_address": f"{host}:{port}"})


@pytest.mark.parametrize("mode", [(), ("--workers", "2")], ids=["one process", "workers"])
async def test_localhost_is_all_addresses_of_that_name_with_one_port(
    mode: tuple[str, ...], commands: CommandLine
) -> None:
    async with commands.serving("--state", ":memory:", *mode, grpc="localhost:0", http="localhost:0") as serving:
        hosts = {str(found[4][0]) for found in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
        for address in (serving.grpc, serving.http):
            for host in hosts:
                with socket.create_connection((host, int(address.rpartition(":")[2])), LIMIT):
                    pass
