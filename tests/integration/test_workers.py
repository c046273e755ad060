"""`serve --workers` as a user runs it: processes that share ports and runs, and that end together."""

import asyncio
import json
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2
from msgspec.structs import replace

from gateway.client import AsyncRunsClient
from gateway.core.errors import NestedTooDeeply
from gateway.core.model import Blob, BlobType, GetParams, ObservabilityContext, RunState, SubmitParams
from tests.support.clients import GrpcClient, JsonRpcClient
from tests.support.command_line import CommandLine, Serving, finish
from tests.support.component_server import Call, ComponentServer
from tests.support.workers import accepted_at, sockets_of, workers_of

CONNECTIONS = 32
FLOW = {
    "steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


class Held:
    """A component server whose component answers when `released` is set."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.server = ComponentServer(self._answer)

    async def _answer(self, call: Call) -> None:
        await self.released.wait()
        await call.result({"output": call.message["params"]["input"]})


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    held = Held()
    async with held.server.running():
        yield held


@pytest.fixture
async def serving(commands: CommandLine, held: Held, home: Path) -> AsyncIterator[Serving]:
    """A gateway of two workers with that component server."""
    arguments = ("--workers", "2", "--state", ":memory:", "--component", f"/test={held.server.url}")
    async with commands.serving(*arguments, env={"TMPDIR": str(home)}) as serving:
        yield serving


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Ending:
    """The end of a process that may not be a child of this one."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._descriptor, self._end)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._ended.set()

    async def wait(self) -> None:
        await self._ended.wait()


async def submit(client: GrpcClient, items: int = 1) -> str:
    flow_id = await client.put_blob(Blob(json.dumps(FLOW), BlobType.FLOW))
    inputs = [str(index) for index in range(items)]
    return (await client.submit(SubmitParams(flow_id=flow_id, inputs=inputs))).run_id


async def line_with(serving: Serving, text: str) -> str:
    """The next line of the log that holds this text."""
    assert serving.process.stderr is not None
    while line := (await serving.process.stderr.readline()).decode():
        if text in line:
            return line
    raise AssertionError(f"the log ends without {text!r}")


async def test_all_workers_serve_the_same_runs(serving: Serving, held: Held) -> None:
    workers = workers_of(serving)
    assert len(workers) == 2
    client = GrpcClient(serving.grpc)
    run_id = await submit(client, 3)
    async with AsyncExitStack() as stack:
        clients = [JsonRpcClient(serving.http.removeprefix("http://")) for _ in range(CONNECTIONS)]
        for jsonrpc in clients:
            stack.push_async_callback(jsonrpc.close)
        params = GetParams(run_id=run_id, wait=True, include_results=True)
        assert {(await jsonrpc.get(GetParams(run_id=run_id))).items.total for jsonrpc in clients} == {3}
        inodes = accepted_at(serving.http)
        assert all(inodes & sockets_of(worker) for worker in workers)
        waiting = [asyncio.create_task(jsonrpc.get(params)) for jsonrpc in clients]
        held.released.set()
        for final in await asyncio.gather(*waiting):
            assert (final.status, [result.value for result in final.results or []]) == (
                RunState.SUCCESS,
                ["0", "1", "2"],
            )
    await client.close()


async def test_workers_describe_themselves_and_tell_their_health(serving: Serving) -> None:
    async with grpc.aio.insecure_channel(serving.grpc) as channel:
        listed: Any = channel.unary_unary("/grpc.health.v1.Health/List")
        assert b"runs.v1.RunsService" in await listed(b"")
        for package in ("v1", "v1alpha"):
            info: Any = channel.stream_stream(f"/grpc.reflection.{package}.ServerReflection/ServerReflectionInfo")
            request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
            (answer,) = [answer async for answer in info(iter([request]))]
            assert b"runs.v1.RunsService" in answer


async def test_component_servers_find_the_blob_api_at_the_shared_address(serving: Serving, held: Held) -> None:
    async with AsyncRunsClient(serving.grpc) as client:  # It waits until the server has been introduced.
        await client.submit(await client.put_flow(FLOW), [1])
    introduction = next(call.message for call in held.server.calls if call.message["method"] == "initialize")
    url = f"{serving.http}/api/v1/blobs"
    assert url in json.dumps(introduction)
    async with aiohttp.ClientSession() as http, http.post(url, json={"data": 1, "blobType": "data"}) as response:
        assert response.status == 200


async def test_a_dead_worker_is_replaced_and_clients_go_on(serving: Serving, held: Held) -> None:
    workers = workers_of(serving)
    client = GrpcClient(serving.grpc)
    run_id = await submit(client, 2)
    await client.close()

    async def follow() -> list[RunState]:
        async with AsyncRunsClient(serving.grpc) as following, aclosing(following.watch(run_id)) as updates:
            return [update.run.status async for update in updates]

    following = [asyncio.create_task(follow()) for _ in range(4)]
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        assert f"worker {worker} has ended with -9" in await line_with(serving, "has ended")
        await line_with(serving, "has taken a dead one's place")
    assert len(workers_of(serving)) == 2
    assert not set(workers) & set(workers_of(serving))
    held.released.set()
    for states in await asyncio.gather(*following):
        assert states[-1] is RunState.SUCCESS


async def test_sigterm_ends_every_process(commands: CommandLine, home: Path) -> None:
    async with commands.serving("--workers", "2", "--state", ":memory:", env={"TMPDIR": str(home)}) as serving:
        workers = workers_of(serving)
        assert [stat.S_IMODE(os.stat(home / name).st_mode) for name in os.listdir(home)] == [0o700]
        serving.process.send_signal(signal.SIGTERM)
        assert await finish(serving.process) == (0, "", "")
    assert not any(map(exists, workers))
    assert os.listdir(home) == []


async def test_a_service_manager_may_tell_every_process_to_end(commands: CommandLine) -> None:
    async with commands.serving("--workers", "2", "--state", ":memory:") as serving:
        workers = workers_of(serving)
        for pid in (serving.process.pid, *workers):
            os.kill(pid, signal.SIGTERM)
        assert (await finish(serving.process)).code == 0
    assert not any(map(exists, workers))


async def test_a_second_signal_ends_every_process_at_once(serving: Serving) -> None:
    stuck, other = workers_of(serving)
    gateway_ends, stuck_ends, other_ends = map(Ending, (serving.process.pid, stuck, other))
    os.kill(stuck, signal.SIGSTOP)
    try:
        serving.process.send_signal(signal.SIGTERM)
        await other_ends.wait()
        serving.process.send_signal(signal.SIGTERM)
        await gateway_ends.wait()
    finally:
        os.kill(stuck, signal.SIGCONT)
    await stuck_ends.wait()
    assert await serving.process.wait() == -signal.SIGTERM


async def test_workers_end_with_a_parent_that_is_killed(serving: Serving) -> None:
    endings = [Ending(worker) for worker in workers_of(serving)]
    serving.process.kill()
    for ending in endings:
        await ending.wait()


async def test_a_port_that_another_server_has_is_refused(commands: CommandLine, serving: Serving) -> None:
    arguments = ("serve", "--workers", "2", "--state", ":memory:", "--http-address", "127.0.0.1:0")
    with socket.create_server(("127.0.0.1", 0)) as other:
        for address in (f"127.0.0.1:{other.getsockname()[1]}", serving.grpc):
            refused = await commands.run(*arguments, "--grpc-address", address)
            assert refused.code == 1
            assert refused.err == f"error: cannot listen on {address}: Address already in use (--grpc-address)\n"


async def test_a_port_of_workers_is_refused_to_others(commands: CommandLine, serving: Serving) -> None:
    addresses = ("--grpc-address", serving.grpc, "--http-address", "127.0.0.1:0")
    refused = await commands.run("serve", "--state", ":memory:", *addresses)
    assert refused.err == f"error: cannot listen on {serving.grpc}: Address already in use (--grpc-address)\n"


async def test_what_keeps_the_runtime_from_starting_is_told(commands: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database", encoding="utf-8")
    addresses = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
    refused = await commands.run("serve", "--workers", "2", "--state", str(tmp_path / "text"), *addresses)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "(--state)" in refused.err


async def test_workers_over_a_relay(commands: CommandLine, serving: Serving, held: Held, home: Path) -> None:
    held.released.set()
    arguments = ("--workers", "2", "--runtime", f"grpc://{serving.grpc}")
    async with commands.serving(*arguments, env={"TMPDIR": str(home)}) as relay:
        assert (relay.runtime, relay.state) == (f"grpc://{serving.grpc}", "")
        client = GrpcClient(relay.grpc)
        run_id = await submit(client, 5)
        final = await client.get(GetParams(run_id=run_id, wait=True, include_results=True))
        assert [result.value for result in final.results or []] == ["0", "1", "2", "3", "4"]
        await client.close()


@pytest.mark.parametrize("front", ["grpc", "http"])
async def test_runs_nest_through_workers(front: str, commands: CommandLine, held: Held, home: Path) -> None:
    arguments = ("--workers", "2", "--state", ":memory:", "--component", f"/test={held.server.url}", "--max-depth", "1")
    async with commands.serving(*arguments, env={"TMPDIR": str(home)}) as serving:
        client = GrpcClient(serving.grpc) if front == "grpc" else JsonRpcClient(serving.http.removeprefix("http://"))
        params = SubmitParams(flow_id=await client.put_blob(Blob(json.dumps(FLOW), BlobType.FLOW)), inputs=["1"])

        async def submit_inside(run_id: str) -> str:
            trace = ObservabilityContext(run_id=run_id, span_id="1")
            return (await client.submit(replace(params, observability=trace))).run_id

        nested = await submit_inside((await client.submit(params)).run_id)
        with pytest.raises(NestedTooDeeply, match=f"{nested}: runs nest at most 1 deep"):
            await submit_inside(nested)
        await client.close()
