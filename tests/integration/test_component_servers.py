"""Component servers as processes of a gateway: what they print, how they die, are silent, and leave nothing behind."""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.client import AsyncRunsClient
from gateway.core.errors import ComponentUnavailable
from gateway.core.model import Blob, BlobType, SubmitParams
from tests.integration.conftest import Start
from tests.support import sdk
from tests.support.clients import GrpcClient, JsonRpcClient
from tests.support.command_line import CommandLine, Serving, finish
from tests.support.component_health import components_available
from tests.support.component_server import Call, ComponentServer
from tests.support.hold import Held
from tests.support.lifelines import Lifelines

SERVER = Path(__file__).parent.parent / "data/components/mortal_server.py"


class Server:
    """The command of a component server, and the executions that it has noted."""

    def __init__(self, folder: Path) -> None:
        self._calls = folder / "calls"

    def command(self, *how: str) -> str:
        return shlex.join([sys.executable, str(SERVER), str(self._calls), *how])

    def let_begin(self) -> None:
        """Let a server that was told to be late print its port."""
        self._calls.touch()

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


class Log:
    """The lines that a gateway has logged, read while it runs."""

    def __init__(self, serving: Serving) -> None:
        assert serving.process.stderr is not None
        self._stream = serving.process.stderr
        self.lines: list[str] = []

    async def until(self, text: str) -> str:
        """Read up to a line that holds this text."""
        while line := (await self._stream.readline()).decode():
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return self.lines[-1]
        raise AssertionError(f"{text!r} is not in the log: {self.lines}")


@asynccontextmanager
async def gateway(commands: CommandLine, target: str, *settings: str) -> AsyncIterator[tuple[Serving, AsyncRunsClient]]:
    arguments = ("--state", ":memory:", "--component", f"/t={target}", *settings)
    async with commands.serving(*arguments) as serving, AsyncRunsClient(serving.grpc) as client:
        yield serving, client


def flow(component: str, **members: Any) -> dict[str, Any]:
    step = {"id": "s", "component": f"/t/{component}", "input": {"$input": "$"}, **members}
    return {"steps": [step], "output": {"$step": "s"}}


async def run(client: AsyncRunsClient, component: str, value: Any = None, **members: Any) -> Any:
    """The output of a component, or its error. Submits wait until the component is available."""
    status = await client.submit_and_wait(await client.put_flow(flow(component, **members)), [value])
    assert status.results is not None
    (result,) = status.results
    return result.error if result.error is not None else result.value


# What they print


async def test_what_a_server_prints_is_in_the_log(commands: CommandLine, server: Server) -> None:
    async with gateway(commands, server.command()) as (serving, client):
        log = Log(serving)
        assert await run(client, "speak") == 1
        line = await log.until(" caf")
        assert re.search(r" INFO gateway\.components\.output: /t: \\x1b\[31mred\\x1b\[0m caf\ufffd \ufffd$", line)
        assert await log.until("said on stdout")


async def test_a_flood_of_lines_is_bounded_each_second(commands: CommandLine, server: Server) -> None:
    async with gateway(commands, server.command()) as (serving, client):
        log = Log(serving)
        assert await run(client, "flood", 5_000) == 1
        first = await log.until("more in this second")
        shown = [line for line in log.lines if "line " in line]
        said = re.search(r"and (\d+) lines more", first)
        assert said is not None
        # The rest may have come in the second after.
        assert 100 <= len(shown) <= 200
        assert int(said[1]) <= 5_001 - 100
        assert max(map(len, log.lines)) < 2_200


@pytest.mark.parametrize(("level", "visible"), [("DEBUG", True), ("warning", False)])
async def test_the_level_of_the_log(commands: CommandLine, server: Server, level: str, visible: bool) -> None:
    async with gateway(commands, server.command(), "--log-level", level) as (serving, client):
        await run(client, "speak")
        serving.process.terminate()
        _, log = await serving.process.communicate()
        assert (b"said on stdout" in log) == visible


# Dying


async def test_a_server_that_dies_is_asked_three_times_more(commands: CommandLine, server: Server) -> None:
    async with gateway(commands, server.command()) as (serving, client):
        log = Log(serving)
        error = await run(client, "die")
        assert error.code == -32302
        assert server.calls == ["/die 1", "/die 2", "/die 3", "/die 4"]
        line = await log.until("exited with status 3; its command: ")
        assert " WARNING " in line
        assert server.command() in line.replace("'", "")
        await log.until("last words 29")
        tail = [line for line in log.lines if line.startswith("    ")]
        assert tail[-20:] == [f"    last words {number}" for number in range(10, 30)]


async def test_a_server_that_is_killed_works_on(commands: CommandLine, server: Server) -> None:
    async with gateway(commands, server.command()) as (_, client):
        assert await run(client, "die_at_first", 2) == 3
        assert await run(client, "echo") == 1
        assert server.calls == ["/die_at_first 1", "/die_at_first 2", "/die_at_first 3", "/echo 1"]


async def test_on_error_counts_when_the_attempts_are_used_up(commands: CommandLine, server: Server) -> None:
    async with gateway(commands, server.command(), "--transport-retries", "1") as (_, client):
        default = {"action": "useDefault", "defaultValue": "default"}
        assert await run(client, "die", onError=default) == "default"
        assert server.calls == ["/die 1", "/die 2"]


async def test_a_server_that_takes_no_connections_any_more_is_started_again(
    commands: CommandLine, server: Server
) -> None:
    async with gateway(commands, server.command()) as (serving, client):
        assert await run(client, "deaf") == 2
        await Log(serving).until("takes no connections any more")


async def test_an_execution_that_takes_too_long_is_tried_again(commands: CommandLine, server: Server) -> None:
    limits = ("--execution-timeout", "/t/hang=0.3", "--execution-timeout", "/=60", "--transport-retries", "1")
    async with gateway(commands, server.command(), *limits) as (serving, client):
        assert await run(client, "hang", 1) == 2
        error = await run(client, "hang", 2)
        assert (error.code, error.message) == (-32300, "the component did not finish within 0.3 seconds")
        await Log(serving).until("attempt 1 to execute /hang failed: the component did not finish within 0.3 seconds")


@pytest.mark.parametrize(("component", "value"), [("huge", 64 << 20), ("garbage", 200), ("garbage", 404)])
async def test_an_answer_that_would_recur_is_not_asked_for_again(
    commands: CommandLine, server: Server, component: str, value: int
) -> None:
    async with gateway(commands, server.command()) as (serving, client):
        assert (await run(client, component, value)).code == -32303
        assert server.calls == [f"/{component} 1"]
        await Log(serving).until(f"attempt 1 to execute /{component} failed: the component server answered")


async def test_an_answer_of_a_proxy_that_passes_is_asked_for_again(commands: CommandLine, server: Server) -> None:
    async with gateway(commands, server.command(), "--transport-retries", "1") as (_, client):
        assert (await run(client, "garbage", 503)).code == -32303
        assert server.calls == ["/garbage 1", "/garbage 2"]


@pytest.mark.parametrize("version", sdk.VERSIONS)
async def test_a_real_server_that_is_killed_while_it_executes(
    start: Start, sdk_python: Callable[[str], Path], version: str
) -> None:
    """The items that execute succeed with their second attempts, and so do those that come meanwhile."""
    target = shlex.join([str(sdk_python(version)), str(sdk.SERVER)])
    running = await start(components={"/t": target})
    async with Held().listening() as held, AsyncRunsClient(running.addresses.grpc) as client:
        pid = (await run(client, "process", {}))["pid"]
        executing = [asyncio.create_task(run(client, "hold", {"port": held.port})) for _ in range(3)]
        for _ in executing:
            await held.next()
        os.kill(pid, signal.SIGKILL)
        later = await client.put_flow(flow("task"))
        status = await client.submit_and_wait(later, [{} for _ in range(20)])
        assert {result.value["attempt"] for result in status.results or ()} <= {1, 2}
        for _ in executing:
            (await held.next())()
        assert await asyncio.gather(*executing) == [{"held": True}] * 3
        assert held.count == 6


# Connections that are closed


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not known what a server has received")
@pytest.mark.parametrize("turns", [1, 5])
async def test_requests_on_connections_that_were_closed_are_sent_again(start: Start, turns: int) -> None:
    """The server closes each connection after its answer, or up to some turns of the event loop later.

    In these it may have received a request that it does not read: that one counts as an attempt, and executes once.
    """
    attempts: list[int] = []

    async def answer_and_close(call: Call) -> None:
        attempts.append(call.message["params"]["attempt"])
        idle = len(attempts) % turns
        await call.result({"output": call.message["params"]["input"]})
        for _ in range(idle):
            await asyncio.sleep(0)
        call.writer.close()

    async with ComponentServer(answer_and_close).running() as url:
        running = await start(components={"/t": url})
        async with AsyncRunsClient(running.addresses.grpc) as client:
            status = await client.submit_and_wait(
                await client.put_flow(flow("double")), list(range(200)), max_concurrency=4
            )
    assert [result.value for result in status.results or ()] == list(range(200))
    assert len(attempts) == 200
    assert turns > 1 or set(attempts) == {1}


# Not there yet


MISSING = {
    "silent": "nothing answers yet at the port that it has printed",
    "ipv6": "nothing answers yet at the port that it has printed",
    "mute": 'it has not printed {"port": N} yet',
}


@pytest.mark.parametrize("how", MISSING)
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_server_that_does_not_answer_delays_nothing(
    commands: CommandLine, server: Server, how: str, workers: str
) -> None:
    async with gateway(commands, server.command(how), "--workers", workers) as (serving, client):
        params = SubmitParams(flow_id=await client.put_flow(flow("echo")), inputs=["1"])
        for front in (GrpcClient(serving.grpc), JsonRpcClient(serving.http.removeprefix("http://"))):
            with pytest.raises(ComponentUnavailable, match="the components below /t are not available yet") as caught:
                await front.submit(params)
            assert caught.value.retry_after == 1.0
            await front.put_blob(Blob("1", BlobType.DATA))
            await front.close()
        assert "its command: " in await Log(serving).until(f"/t: its components are not available yet: {MISSING[how]}")


FORKED = """
import gateway.cli  # as the console script does
import asyncio, os
from grpc import aio

async def main():
    server = aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    if not (pid := os.fork()):
        os._exit(len(os.listdir("/proc/self/task")))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

asyncio.run(main())
"""


async def test_grpc_starts_no_threads_in_what_is_about_to_become_a_server() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORKED, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert (await finish(process))[:2] == (0, "1\n")


async def test_the_log_follows_what_a_server_is_waited_for(commands: CommandLine, server: Server) -> None:
    async with gateway(commands, server.command("silent", "late")) as (serving, _):
        log = Log(serving)
        await log.until(MISSING["mute"])
        server.let_begin()
        await log.until(MISSING["silent"])


async def health(serving: Serving) -> Any:
    """The answer of the HTTP front, over a connection of its own: of any worker."""
    async with aiohttp.ClientSession() as http, http.get(f"{serving.http}/health") as response:
        assert response.status == 200
        return await response.json()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_health_tells_which_components_are_missing(
    commands: CommandLine, server: Server, workers: str, unused_tcp_port: int
) -> None:
    late = ("--component", f"/late=http://127.0.0.1:{unused_tcp_port}")
    async with gateway(commands, server.command(), *late, "--workers", workers) as (serving, _):
        await components_available(serving.grpc, ["/t"])
        while (told := await health(serving)) != {"status": "healthy", "missing_components": ["/late"]}:
            assert told["missing_components"] == ["/t", "/late"]  # It may be another worker.
        async with grpc.aio.insecure_channel(serving.grpc) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            states = health_pb2.HealthCheckResponse
            for service, state in (("components/late", states.NOT_SERVING), ("", states.SERVING)):
                assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == state
        async with ComponentServer(no_execution).running(unused_tcp_port):
            await components_available(serving.grpc, ["/late"])
            while (told := await health(serving)) != {"status": "healthy"}:
                assert told["missing_components"] == ["/late"]


async def no_execution(call: Call) -> None:
    raise AssertionError("nothing was to be executed")


@pytest.mark.parametrize("scheme", ["grpc", "jsonrpc"])
async def test_a_relay_passes_on_that_components_are_not_available(
    commands: CommandLine, server: Server, scheme: str
) -> None:
    async with gateway(commands, server.command("silent")) as (upstream, _):
        runtime = f"grpc://{upstream.grpc}" if scheme == "grpc" else f"jsonrpc+{upstream.http}/"
        async with commands.serving("--runtime", runtime) as relay, AsyncRunsClient(relay.grpc) as client:
            params = SubmitParams(flow_id=await client.put_flow(flow("echo")), inputs=["1"])
            for front in (GrpcClient(relay.grpc), JsonRpcClient(relay.http.removeprefix("http://"))):
                with pytest.raises(ComponentUnavailable, match="the components below /t are not available") as caught:
                    await front.submit(params)
                assert (caught.value.reason, caught.value.retry_after) == ("COMPONENT_UNAVAILABLE", 1.0)
                await front.close()


async def test_a_command_that_does_not_exist_is_refused(commands: CommandLine) -> None:
    started = await commands.start("serve", "--component", "/t=no-such-server --port 0", env={"PATH": "/bin:/usr/bin"})
    code, out, err = await finish(started)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "'no-such-server --port 0' was not found: no-such-server is not in PATH, which is /bin:/usr/bin" in err


async def test_servers_are_told_the_url_of_the_blob_api(commands: CommandLine, server: Server, tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = tmp_path / "server.py"
    note = (
        f'message["method"] == "initialize":\n            Path({str(told)!r}).write_text(json.dumps(message["params"]))'
    )
    script.write_text(SERVER.read_text().replace('message["method"] == "initialize":', note))
    command = shlex.join([sys.executable, str(script), str(tmp_path / "calls")])
    url = "http://gateway.example:8080/api/v1/blobs"
    async with gateway(commands, command, "--blob-api-url", url) as (_, client):
        await run(client, "echo")
    assert json.loads(told.read_text())["capabilities"] == {"blobApiUrl": url}


# Nothing is left


SHELL = "trap '' HUP; {command} & wait"


@pytest.mark.parametrize("launched", ["directly", "by a shell"])
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_process_is_left(
    commands: CommandLine, server: Server, launched: str, workers: str, number: signal.Signals
) -> None:
    command = server.command()
    target = command if launched == "directly" else shlex.join(["/bin/sh", "-c", SHELL.format(command=command)])
    async with (
        Lifelines().listening() as lifelines,
        gateway(commands, target, "--workers", workers) as (serving, client),
    ):
        assert await run(client, "hold", lifelines.port) == 1
        await lifelines.held(3)
        serving.process.send_signal(number)
        await serving.process.wait()
        await lifelines.cut()
