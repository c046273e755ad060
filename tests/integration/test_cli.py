"""The command line, as processes: serving, using, failing, stopping."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.errors import Unavailable
from gateway.core.model import GetParams
from tests.support.clients import GrpcClient
from tests.support.command_line import PIPE, PROGRAM, CommandLine, Serving, finish
from tests.support.component_server import Call, ComponentServer

EXAMPLES = Path(__file__).parents[2] / "examples"
MISSING_FLOW = f"sha256:{'0' * 64}"
MISSING_RUN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


class Gate:
    """A component that answers once it is open."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.server = ComponentServer(self._answer)

    async def _answer(self, call: Call) -> None:
        self.entered.set()
        await self.open.wait()
        await call.result({"output": "through"})


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    async with gate.server.running():
        yield gate


@pytest.fixture
async def serving(cli: CommandLine, gate: Gate, tmp_path: Path) -> AsyncIterator[Serving]:
    async with cli.serving("--state", str(tmp_path / "runs.db"), "--component", f"/gate={gate.server.url}") as serving:
        yield serving


def write(folder: Path, name: str, content: Any) -> str:
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(file)


async def put(cli: CommandLine, folder: Path, *steps: object, output: object) -> str:
    return await cli.output("put", write(folder, "flow.json", {"name": "f", "steps": steps, "output": output}))


async def put_echo(cli: CommandLine, folder: Path) -> str:
    return await put(cli, folder, output={"$input": "$"})


async def put_gated(cli: CommandLine, folder: Path) -> str:
    return await put(
        cli, folder, {"id": "s", "component": "/gate/echo", "input": {"$input": "$"}}, output={"$step": "s"}
    )


async def test_serve_tells_where_it_listens_and_when_it_is_ready(cli: CommandLine) -> None:
    addresses = [part for front in ("grpc", "http", "metrics") for part in (f"--{front}-address", "127.0.0.1:0")]
    process = await cli.start("serve", *addresses, "--state", ":memory:")
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode().split() for _ in range(6)]
    assert [line[0] for line in lines] == ["gRPC", "HTTP", "metrics", "state", "memory", "ready"]
    async with aiohttp.ClientSession() as http:
        for url in (f"{lines[1][1]}/health", lines[2][1]):
            async with http.get(url) as response:
                assert response.status == 200
    process.send_signal(signal.SIGINT)
    finished = await finish(process)
    assert (finished.code, finished.out, finished.err) == (0, "", "")


async def test_a_flow_in_yaml_runs_and_its_values_stay_what_they_are(
    cli: CommandLine, serving: Serving, tmp_path: Path
) -> None:
    flow = "steps: []\noutput:\n  big: 1152921504606846977\n  small: 0.1234567890123456789\n  it: {$input: $}\n"
    flow_id = await cli.output("put", write(tmp_path, "flow.yaml", flow))
    inputs = ["1e400", "-0.0", '{"z": 1, "a": null}']
    run_id = await cli.output("submit", flow_id, *(f"--input={text}" for text in inputs), "--flow-label", "nightly")
    status = await cli.output("get", run_id, "--wait", "--results", "--json")
    for text in inputs:
        assert f'{{"big":1152921504606846977,"small":0.1234567890123456789,"it":{text}}}' in status
    decoded = json.loads(status)
    assert decoded["flowId"] == flow_id
    assert decoded["runId"] == run_id
    assert decoded["flowLabel"] == "nightly"
    assert decoded["items"] == {"total": 3, "pending": 0, "running": 0, "success": 3, "failed": 0, "cancelled": 0}


async def test_a_flow_comes_from_standard_input(cli: CommandLine, serving: Serving) -> None:
    assert await cli.output("put", "-", stdin="steps: []\noutput: 1\n") == await cli.output(
        "put", "-", stdin='{"steps":[],"output":1}'
    )


async def test_inputs_come_from_files_and_from_standard_input(
    cli: CommandLine, serving: Serving, tmp_path: Path
) -> None:
    flow_id = await put_echo(cli, tmp_path)
    results = []
    for arguments, stdin in (
        (["--inputs", write(tmp_path, "inputs.json", "[1, 2]")], ""),
        (["--inputs", write(tmp_path, "inputs.jsonl", "1\n2\n")], ""),
        (["--inputs", "-"], "1\n2\n"),
        (["--input", "1", "--input", "2"], ""),
    ):
        status = json.loads(await cli.output("submit", flow_id, "--wait", "--json", *arguments, stdin=stdin))
        results.append([result["result"]["value"] for result in status["results"]])
    assert results == [[1, 2]] * 4


async def test_parameters_of_a_submit_reach_the_run(cli: CommandLine, serving: Serving, tmp_path: Path) -> None:
    step = {"id": "s", "component": "/gate/echo", "input": 1}
    flow_id = await put(cli, tmp_path, step, output={"v": {"$variable": "v"}, "i": {"$input": "$"}})
    submit = ("submit", flow_id, "--input", "[]", "--variable", 'v={"a": 1e400}', "--idempotency-key", "k")
    overrides = ("--overrides", '{"steps": {"s": {"value": {"input": 2}}}}', "--max-concurrency", "1")
    run_id = await cli.output(*submit, *overrides)
    assert await cli.output(*submit, *overrides) == run_id
    assert '"value":{"v":{"a": 1e400},"i":[]}' in await cli.output("get", run_id, "--wait", "--results", "--json")
    conflict = await cli.run(*submit)
    assert conflict.code == 2
    assert "idempotency key" in conflict.err


async def test_people_read_lines(cli: CommandLine, serving: Serving, tmp_path: Path) -> None:
    flow_id = await put(cli, tmp_path, output={"$input": "m"})
    finished = await cli.run("submit", flow_id, "--input", '{"m": "\\u001b[31m"}', "--input", "{}", "--wait")
    assert finished.code == 5
    lines = [line.split() for line in finished.out.splitlines()]
    names = ["run", "flow", "name", "state", "items", "created", "started", "completed", "0", "1"]
    assert [line[0] for line in lines] == names
    assert lines[3] == ["state", "failed"]
    assert lines[4] == ["items", "2", "(1", "success,", "1", "failed)"]
    assert lines[-2] == ["0", "success", '"\\u001b[31m"']
    assert lines[-1][1] == "failed"
    assert "-32200" in lines[-1][-1]


async def test_waiting_ends_with_the_timeout_and_the_run_goes_on(
    cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path
) -> None:
    flow_id = await put_gated(cli, tmp_path)
    finished = await cli.run("submit", flow_id, "--input", "1", "--wait", "--timeout", "0.1", "--json")
    status = json.loads(finished.out)
    assert (finished.code, finished.err) == (6, f"run {status['runId']}\n")
    assert status["status"] in {"pending", "running"}
    gate.open.set()
    assert json.loads(await cli.output("get", status["runId"], "--wait", "--json"))["status"] == "success"


async def test_watch_prints_a_line_for_each_update_until_the_run_ends(
    cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path
) -> None:
    flow_id = await put_gated(cli, tmp_path)
    run_id = await cli.output("submit", flow_id, "--input", "1", "--input", "2")
    process = await cli.start("watch", run_id)
    assert process.stdout is not None
    first = json.loads(await process.stdout.readline())
    gate.open.set()
    rest = await finish(process)
    updates = [first, *map(json.loads, rest.out.splitlines())]
    assert (rest.code, rest.err) == (0, "")
    assert first["items"]["success"] == 0
    assert [update["status"] for update in updates].count("success") == 1
    assert updates[-1]["items"]["success"] == 2
    counts = [update["items"]["success"] for update in updates]
    assert counts == sorted(counts)


async def test_watch_draws_a_bar_on_a_terminal(cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path) -> None:
    gate.open.set()
    run_id = await cli.output("submit", await put_gated(cli, tmp_path), "--input", "1", "--input", "2")
    screen, terminal = pty.openpty()
    process = await cli.start("watch", run_id, stdout=terminal, env={"TERM": "xterm", "COLUMNS": "100"})
    os.close(terminal)
    drawn = await asyncio.to_thread(read_terminal, screen)
    assert (await finish(process)).code == 0
    assert "2/2" in drawn
    assert "2 success" in drawn
    assert "━" in drawn
    assert drawn.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def read_terminal(screen: int) -> str:
    """Everything that is written to a terminal until nobody has it open."""
    with os.fdopen(screen, "rb", buffering=0) as file:
        data = b""
        try:
            while chunk := file.read(4096):
                data += chunk
        except OSError:  # how Linux tells that the other side is closed
            pass
    return data.decode()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
@pytest.mark.parametrize("form", ["table", "json"])
async def test_a_submit_that_is_ended_while_it_waits_tells_the_run(
    cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path, number: signal.Signals, code: int, form: str
) -> None:
    flow_id = await put_gated(cli, tmp_path)
    process = await cli.start("submit", flow_id, "--input", "1", "--wait", "--output", form)
    first = process.stdout if form == "table" else process.stderr
    assert first is not None
    run_id = (await first.readline()).split()[1].decode()
    process.send_signal(number)
    finished = await finish(process)
    assert (finished.code, finished.err) == (code, f"run {run_id} goes on\n")
    gate.open.set()
    assert json.loads(await cli.output("get", run_id, "--wait", "--json"))["status"] == "success"


async def test_ctrl_c_ends_watching_and_nothing_else(
    cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path
) -> None:
    run_id = await cli.output("submit", await put_gated(cli, tmp_path), "--input", "1")
    process = await cli.start("watch", run_id)
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    finished = await finish(process)
    assert (finished.code, finished.err) == (130, "")
    gate.open.set()
    assert json.loads(await cli.output("get", run_id, "--wait", "--json"))["status"] == "success"


@pytest.mark.parametrize("command", ["get", "watch"])
async def test_nobody_reading_the_output_is_no_traceback(
    command: str, cli: CommandLine, serving: Serving, tmp_path: Path
) -> None:
    run_id = await cli.output("submit", await put_echo(cli, tmp_path), "--input", "1")
    reader, writer = os.pipe()
    os.close(reader)
    process = await cli.start(command, run_id, stdout=writer)
    os.close(writer)
    finished = await finish(process)
    assert (finished.code, finished.err) == (141, "")


@pytest.mark.parametrize(
    "arguments", [["put", "-"], ["get", "RUN"], ["get", "RUN", "--json"], ["watch", "RUN"], ["serve", "--help"]]
)
async def test_a_full_disk_is_an_error_in_one_line(
    cli: CommandLine, serving: Serving, tmp_path: Path, arguments: list[str]
) -> None:
    run_id = await cli.output("submit", await put_echo(cli, tmp_path), "--input", "1")
    words = [run_id if word == "RUN" else word for word in arguments]
    full = os.open("/dev/full", os.O_WRONLY)
    process = await cli.start(*words, stdin=PIPE, stdout=full)
    os.close(full)
    finished = await finish(process, "steps: []\noutput: 1\n")
    assert (finished.code, finished.err) == (1, "error: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("flags", [[], ["--json"], ["--wait"], ["--wait", "--json"]])
async def test_the_id_of_a_run_is_not_lost_with_the_output(
    flags: list[str], cli: CommandLine, serving: Serving, tmp_path: Path
) -> None:
    submit = ("submit", await put_echo(cli, tmp_path), "--input", "1", "--idempotency-key", "k")
    full = os.open("/dev/full", os.O_WRONLY)
    process = await cli.start(*submit, *flags, stdout=full)
    os.close(full)
    lost = await finish(process)
    reader, writer = os.pipe()
    os.close(reader)
    process = await cli.start(*submit, *flags, stdout=writer)
    os.close(writer)
    unread = await finish(process)
    run = f"run {await cli.output(*submit)}"
    if flags == ["--wait", "--json"]:
        assert lost == (1, "", f"{run}\nerror: cannot write the output: No space left on device\n")
        assert unread == (141, "", f"{run}\n")
    else:
        assert lost == (1, "", f"error: cannot write the output: No space left on device ({run})\n")
        assert unread == (141, "", f"error: cannot write the output: Broken pipe ({run})\n")


async def test_a_command_ends_without_taking_apart_what_it_holds() -> None:
    """For a gateway with millions of results in memory, that would take seconds."""
    program = """
import atexit, sys
from gateway.cli import main

class Held:
    def __del__(self):
        print("taken apart", flush=True)

held = Held()
atexit.register(lambda: print("ended in order", flush=True))
sys.argv[1:] = ["--version"]
main()
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE, stderr=PIPE)
    ended = await finish(process)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[1:] == ["ended in order"]


async def test_closed_output_is_an_error_in_one_line() -> None:
    process = await asyncio.create_subprocess_exec("sh", "-c", f"exec '{PROGRAM}' --version >&-", stderr=PIPE)
    finished = await finish(process)
    assert (finished.code, finished.err) == (1, "error: standard output is closed\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["get", "nonsense"], 2, "error: run_id: expected a UUID"),
        (["get", MISSING_RUN], 3, f"error: no run has the id '{MISSING_RUN}'"),
        (["watch", MISSING_RUN], 3, f"error: no run has the id '{MISSING_RUN}'"),
        (["submit", MISSING_FLOW, "--input", "1"], 3, "error: no flow has the id"),
        (["submit", "nonsense", "--input", "1"], 2, "error: flow_id: expected 'sha256:' and 64 hex digits"),
        (["submit", MISSING_FLOW, "--input", "{"], 2, "error: inputs[0]"),
        (["submit", MISSING_FLOW, "--input", "NaN"], 2, "error: inputs[0]"),
        (["submit", MISSING_FLOW, "--input", "1", "--overrides", "3"], 2, "error: overrides"),
        (["submit", MISSING_FLOW, "--input", "1", "--variable", "v"], 2, "error: --variable: expected NAME=JSON"),
        (["submit", MISSING_FLOW, "--input", "1", "--max-concurrency", "0"], 2, "error: Invalid value"),
        (["submit", MISSING_FLOW], 2, "error: give either --input or --inputs"),
        (["submit", MISSING_FLOW, "--inputs", "/nowhere/i.json"], 2, "error: /nowhere/i.json: No such file"),
        (["put", "/nowhere/flow.yaml"], 2, "error: /nowhere/flow.yaml: No such file or directory"),
        (["get"], 2, 'error: Command "get" parameter RUN_ID requires an argument'),
        (["fetch"], 2, 'error: Unknown command "fetch"'),
        (["get", MISSING_RUN, "--address", "127.0.0.1:1"], 4, "error: cannot reach the gateway at 127.0.0.1:1"),
    ],
)
async def test_an_error_is_one_line_and_an_exit_code(
    cli: CommandLine, serving: Serving, arguments: list[str], code: int, message: str
) -> None:
    finished = await cli.run(*arguments)
    assert (finished.code, finished.out) == (code, "")
    assert finished.err.startswith(message)
    assert finished.err.count("\n") == 1


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ("steps: 3\noutput: 1\n", "flow.yaml: steps"),
        ("a: b: c", "flow.yaml: line 1, column 5: mapping values are not allowed"),
    ],
)
async def test_a_flow_that_is_none_is_refused(
    cli: CommandLine, serving: Serving, tmp_path: Path, flow: str, message: str
) -> None:
    finished = await cli.run("put", write(tmp_path, "flow.yaml", flow))
    assert finished.code == 2
    assert message in finished.err


async def test_flags_count_more_than_the_environment_and_that_more_than_the_file(
    cli: CommandLine, tmp_path: Path
) -> None:
    file = write(tmp_path, "settings.toml", 'state = "file.db"\nmax_calls = 0\nmax_waiting_calls = 5\n')
    env = {"RUNS_GATEWAY_CONFIG": file, "RUNS_GATEWAY_MAX_CALLS": "7", "RUNS_GATEWAY_STATE": "env.db"}
    async with cli.serving("--state", str(tmp_path / "flag.db"), env=env) as serving:
        assert serving.state == str(tmp_path / "flag.db")
    refused = await cli.run("serve", env={**env, "RUNS_GATEWAY_MAX_CALLS": "none"})
    assert refused.code == 2
    assert refused.err.startswith("error: max_calls (from RUNS_GATEWAY_MAX_CALLS): ")
    assert refused.err.count("\n") == 1


async def test_state_is_kept_in_the_users_directory_unless_told_otherwise(cli: CommandLine, tmp_path: Path) -> None:
    async with cli.serving() as serving:
        assert serving.state == str(tmp_path / "state" / "runs-gateway" / "runs.db")
        flow_id = await put_echo(cli, tmp_path)
    async with cli.serving():
        assert await cli.output("submit", flow_id, "--input", "1")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--state", "{state}"], "error: the state {state} is in use by another process (--state)"),
        (["--grpc-address", "{grpc}"], "error: cannot listen on {grpc}: Address already in use (--grpc-address)"),
        (["--http-address", "{http}"], "error: cannot listen on {http}: Address already in use (--http-address)"),
    ],
)
async def test_a_second_start_says_what_is_in_use(
    cli: CommandLine, serving: Serving, flags: list[str], message: str
) -> None:
    taken = {"state": serving.state, "grpc": serving.grpc, "http": serving.http.removeprefix("http://")}
    settings = {"--grpc-address": "127.0.0.1:0", "--http-address": "127.0.0.1:0", "--state": ":memory:"}
    settings[flags[0]] = flags[1].format(**taken)
    finished = await cli.run("serve", *(part for setting in settings.items() for part in setting))
    assert (finished.code, finished.out, finished.err) == (1, "", f"{message.format(**taken)}\n")


@pytest.mark.parametrize(
    ("component", "message"),
    [
        ("/a", "error: --component: expected PREFIX=TARGET"),
        ("/a=", "error: component route '/a': the command is empty (--component)"),
        ("/a=http://", "error: component route '/a': the URL is malformed (--component)"),
    ],
)
async def test_a_component_that_cannot_be_is_refused(cli: CommandLine, component: str, message: str) -> None:
    finished = await cli.run("serve", "--state", ":memory:", "--component", component)
    assert finished.code == 2
    assert finished.err.startswith(message)


async def test_sigterm_sends_waiting_clients_away_and_loses_no_run(
    cli: CommandLine, gate: Gate, tmp_path: Path
) -> None:
    settings = ("--state", str(tmp_path / "runs.db"), "--component", f"/gate={gate.server.url}")
    async with cli.serving(*settings, "--log-level", "warning") as serving:
        run_id = await cli.output("submit", await put_gated(cli, tmp_path), "--input", "1")
        await gate.entered.wait()
        client = GrpcClient(serving.grpc)
        async with aclosing(client.follow(GetParams(run_id=run_id, wait=True))) as updates:
            await anext(updates)
            serving.process.terminate()
            with pytest.raises(Unavailable):
                [update async for update in updates]
        await client.close()
        served = await finish(serving.process)
    assert (served.code, served.err) == (0, "")
    gate.open.set()
    async with cli.serving(*settings):
        assert json.loads(await cli.output("get", run_id, "--wait", "--json"))["status"] == "success"


async def test_watching_goes_on_when_the_gateway_starts_again(cli: CommandLine, gate: Gate, tmp_path: Path) -> None:
    settings = ("--state", str(tmp_path / "runs.db"), "--component", f"/gate={gate.server.url}")
    async with cli.serving(*settings) as serving:
        run_id = await cli.output("submit", await put_gated(cli, tmp_path), "--input", "1")
        await gate.entered.wait()
        watch = await cli.start("watch", run_id)
        assert watch.stdout is not None
        await watch.stdout.readline()
    async with cli.serving(*settings, grpc=serving.grpc):
        await watch.stdout.readline()
        gate.open.set()
        watched = await finish(watch)
    assert (watched.code, watched.err) == (0, "reconnected\n")
    assert json.loads(watched.out.splitlines()[-1])["status"] == "success"


async def test_a_second_signal_ends_it_at_once(cli: CommandLine, tmp_path: Path) -> None:
    # A component server that does not stop when it is told to keeps the gateway from stopping for some seconds.
    server = write(
        tmp_path,
        "stubborn.py",
        f"import runpy, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"runpy.run_path({str(EXAMPLES / 'components_server.py')!r}, run_name='__main__')\n",
    )
    async with cli.serving("--state", ":memory:", "--component", f"/a={sys.executable} {server}") as serving:
        serving.process.terminate()
        async with aiohttp.ClientSession() as http:
            await until_refused(http, f"{serving.http}/health")
        serving.process.terminate()
        assert (await finish(serving.process)).code == -signal.SIGTERM


async def until_refused(http: aiohttp.ClientSession, url: str) -> None:
    """Ask until nothing listens any more."""
    while True:
        try:
            async with http.get(url) as response:
                await response.read()
        except aiohttp.ClientConnectionError:
            return


async def test_json_everywhere(cli: CommandLine, serving: Serving, tmp_path: Path) -> None:
    flow = write(tmp_path, "flow.json", {"steps": [], "output": {"$input": "$"}})
    flow_id = json.loads(await cli.output("put", "--json", flow))["flowId"]
    submitted = json.loads(await cli.output("submit", flow_id, "--input", "1", "--json"))
    assert "results" not in submitted
    for command in (["get", "--wait"], ["watch"]):
        lines = (await cli.output(*command, submitted["runId"], "--json")).splitlines()
        assert json.loads(lines[-1])["status"] == "success"


async def test_a_result_with_line_breaks_stays_on_its_line(cli: CommandLine, serving: Serving, tmp_path: Path) -> None:
    flow_id = await put_echo(cli, tmp_path)
    output = await cli.output("submit", flow_id, "--input", '{"a":\n1,\r\n"b": "\\n"}', "--wait", "--json")
    assert len(output.splitlines()) == 1
    assert json.loads(output)["results"][0]["result"]["value"] == {"a": 1, "b": "\n"}


async def test_help_and_version(cli: CommandLine) -> None:
    assert (await cli.output("--version")) == "0.1.0"
    assert json.loads(await cli.output("version", "--json")) == {"version": "0.1.0"}
    for arguments in ((), ("serve",), ("bridge",), ("put",), ("submit",), ("get",), ("watch",)):
        assert "Usage: runs-gateway" in await cli.output(*arguments, "--help")


IMPORTED = """
import sys
from gateway.cli.program import run

code = run(["get", "00000000-0000-0000-0000-000000000000", "--address", "127.0.0.1:1"])
unneeded = ("pydantic", "gateway.server", "importlib.metadata", "uvloop", "aiohttp")
print(code, [name for name in unneeded if name in sys.modules])
"""


async def test_a_command_imports_no_more_than_it_needs() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", IMPORTED, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert (await finish(process)).out == "4 []\n"
