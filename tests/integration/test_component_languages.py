"""The component servers of the examples in Node and in Go, on real gateways: started by command, and at a URL."""

import asyncio
import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import pytest

from gateway.client import AsyncRunsClient, InvalidParams, RunFilter, RunStatus
from gateway.core.yaml_json import yaml_to_json
from tests.support.command_line import CommandLine
from tests.support.environments import CACHE, locked

EXAMPLES: Final = Path(__file__).parents[2] / "examples/components"
PAGE: Final = (EXAMPLES.parents[1] / "docs/components.md").read_text(encoding="utf-8")
TOOLS: Final = {"node": "node", "go": "go"}
COUNT: Final = {
    "steps": [{"id": "count", "component": "/words/count", "input": {"$input": "$"}}],
    "output": {"$step": "count"},
}


@functools.cache
def words_in_go() -> Path:
    """The program, built once."""
    folder = CACHE / "go_components"
    with locked(folder):
        own = {"GOCACHE": str(folder / "cache"), "GOPATH": str(folder / "path"), "GOFLAGS": "-buildvcs=false"}
        environment = {**os.environ, **own, "GOPROXY": "off"}
        command = ["go", "build", "-o", str(folder / "words"), "."]
        subprocess.run(command, cwd=EXAMPLES / "go", env=environment, check=True)
    return folder / "words"


class Words(NamedTuple):
    """A gateway with the components of an example, and the lines that these print."""

    client: AsyncRunsClient
    printed: Callable[[str], Awaitable[None]]

    async def run(self, component: str, value: Any) -> RunStatus:
        step = {"id": "s", "component": f"/words/{component}", "input": {"$input": "$"}}
        flow_id = await self.client.put_flow({"steps": [step], "output": {"$step": "s"}})
        return await self.client.submit(flow_id, [value])

    async def outcome(self, component: str, value: Any) -> Any:
        run = await self.client.wait((await self.run(component, value)).run_id, include_results=True)
        assert run.results is not None
        (result,) = run.results
        return result.value if result.error is None else (result.error.code, result.error.message)


@pytest.fixture(params=TOOLS)
def command(request: pytest.FixtureRequest) -> list[str]:
    """The command of each example."""
    tool = shutil.which(TOOLS[request.param])
    if tool is None and not os.environ.get("CI"):
        pytest.skip(f"{request.param} was not found; CI runs this test")
    return [str(words_in_go())] if request.param == "go" else [str(tool), str(EXAMPLES / "node/main.js")]


@asynccontextmanager
async def listening(command: list[str]) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run a server that nobody has started by command; it ends in order."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    port = json.loads(await process.stdout.readline())["port"]
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


def reader(process: asyncio.subprocess.Process) -> Callable[[str], Awaitable[None]]:
    """A function that waits until a process has printed some text."""
    stream = process.stderr
    assert stream is not None

    async def printed(text: str) -> None:
        while text not in (line := (await stream.readline()).decode()):
            assert line, f"{text!r} was not printed"

    return printed


@pytest.fixture(params=["started", "at a URL"])
async def words(request: pytest.FixtureRequest, command: list[str], tmp_path: Path) -> AsyncIterator[Words]:
    """A gateway with each of them, its state in a file where it starts the server, and else in memory."""
    commands = CommandLine(tmp_path)
    if request.param == "started":
        arguments = ("--component", f"/words={' '.join(command)}", "--state", str(tmp_path / "runs.db"))
        async with commands.serving(*arguments) as serving, AsyncRunsClient(serving.grpc) as client:
            yield Words(client, reader(serving.process))
        return
    async with (
        listening(command) as (url, process),
        commands.serving("--component", f"/words={url}", "--state", ":memory:") as serving,
        AsyncRunsClient(serving.grpc) as client,
    ):
        yield Words(client, reader(process))


def messages_of_the_page() -> list[dict[str, Any]]:
    """The requests and responses that the page shows, in order."""
    text = "\n".join(line for line in PAGE.splitlines() if line.startswith(("    {", "      ")))
    found, end = [], 0
    while (begin := text.find('{"jsonrpc"', end)) >= 0:
        message, end = json.JSONDecoder().raw_decode(text, begin)
        found.append(message)
    return found


async def test_the_messages_of_the_page(command: list[str]) -> None:
    messages = {name: [each for each in messages_of_the_page() if each.get("id") == name] for name in "123"}
    execute, output, failed = (each for each in messages_of_the_page() if each.get("id") == "4")
    refused = {**execute, "params": {**execute["params"], "input": 5}}
    async with listening(command) as (url, _), aiohttp.ClientSession() as http:
        for request, response in messages.values():
            async with http.post(url, json=request) as answered:
                answer = await answered.json()
            if request["method"] == "components/list":
                listed = response["result"]["components"]
                answer["result"]["components"] = [each for each in answer["result"]["components"] if each in listed]
                answer["result"]["components"].sort(key=listed.index)
            assert answer == response
        for request, response in ((execute, output), (refused, failed)):
            response.get("error", {}).pop("data", None)
            async with http.post(url, json=request) as answered:
                assert answered.headers["stepflow-instance-id"]
                assert json.loads((await answered.text()).removeprefix("data: ")) == response
        async with http.post(url, json={"jsonrpc": "2.0", "method": "initialized", "params": {}}) as answered:
            assert answered.status == 202


async def test_the_flow_of_the_page(words: Words) -> None:
    (flow,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    status = await words.client.submit_and_wait(
        await words.client.put_flow(yaml_to_json(flow)), [["to be or", "not to be"]]
    )
    assert [result.value for result in status.results or ()] == [6]


async def test_outputs_and_errors(words: Words) -> None:
    assert await words.outcome("count", "to be or not") == 4
    assert await words.outcome("count", 5) == (-32100, "expected a text")


async def test_a_component_that_does_not_exist(words: Words) -> None:
    with pytest.raises(InvalidParams, match="/words/none"):
        await words.run("none", 1)


async def test_a_component_calls_back(words: Words) -> None:
    run = await words.run("count_all", {"texts": ["a b", "c", "d e f"], "flow": COUNT})
    assert [result.value for result in (await words.client.wait(run.run_id, include_results=True)).results or ()] == [6]
    await words.printed("count_all: run ")
    inner = [each async for each in words.client.runs(RunFilter(parent_run_id=run.run_id))]
    assert [(each.status, each.items.total) for each in inner] == [("success", 3)]


async def test_a_run_inside_that_fails(words: Words) -> None:
    code, message = await words.outcome("count_all", {"texts": ["a", 1], "flow": COUNT})
    assert (code, message) == (-32100, "expected a text")
    code, message = await words.outcome("count_all", {"texts": ["a"], "flow": {}})
    assert code == -32100
    assert "not a flow" in message


async def test_many_executions_at_the_same_time(words: Words) -> None:
    albums = [{"texts": ["a b"] * number, "flow": COUNT} for number in range(1, 6)]
    assert await asyncio.gather(*(words.outcome("count_all", album) for album in albums)) == [2, 4, 6, 8, 10]


async def test_a_component_is_told_of_the_cancel_of_its_run(words: Words) -> None:
    run = await words.run("wait", 600)
    await words.printed("wait: begun")
    assert (await words.client.cancel(run.run_id)).status == "cancelled"
    await words.printed("wait: ended by the gateway")


async def test_a_component_that_waits_to_the_end(words: Words) -> None:
    assert await words.outcome("wait", 0.01) == 0.01
