"""The command line on terminals and pipes of every kind: what users do, and what their shells see."""

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_cli import Gate, put_echo, put_gated, read_terminal, write
from tests.support.command_line import PIPE, PROGRAM, CommandLine, Serving, finish

BIN = str(Path(sys.executable).parent)
UTF_8_OFF = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    async with gate.server.running():
        yield gate


@pytest.fixture
async def serving(cli: CommandLine, gate: Gate) -> AsyncIterator[Serving]:
    async with cli.serving("--state", ":memory:", "--component", f"/gate={gate.server.url}") as serving:
        yield serving


async def shell(command: str, serving: Serving, *, home: Path) -> tuple[str, str]:
    """Run a line of bash. Returns what it prints, to either."""
    environment = {"PATH": f"{BIN}:{os.defpath}", "HOME": str(home), "RUNS_GATEWAY_ADDRESS": serving.grpc}
    process = await asyncio.create_subprocess_exec("bash", "-c", command, env=environment, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    return out.decode(), err.decode()


@pytest.mark.parametrize("flags", [[], ["--json"]])
async def test_a_submit_that_waits_names_its_run_before_it_waits(
    flags: list[str], cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path
) -> None:
    process = await cli.start("submit", await put_gated(cli, tmp_path), "--input", "1", "--wait", *flags)
    stream = process.stderr if flags else process.stdout
    assert stream is not None
    words: list[str] = []
    while words[:1] != ["run"]:  # A busy gateway is told of first.
        words = (await stream.readline()).decode().split()
    _, run_id = words
    process.send_signal(signal.SIGINT)
    ended = await finish(process)
    assert (ended.code, ended.out, ended.err) == (130, "", f"run {run_id} goes on\n")
    gate.open.set()
    assert json.loads(await cli.output("get", run_id, "--wait", "--json"))["status"] == "success"


@pytest.mark.parametrize(
    ("width", "bar", "count"), [(100, True, True), (20, True, True), (9, True, True), (1, False, False)]
)
async def test_the_bar_fits_into_a_narrow_terminal(
    width: int, bar: bool, count: bool, cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path
) -> None:
    gate.open.set()
    run_id = await cli.output("submit", await put_gated(cli, tmp_path), "--input", "1", "--input", "2")
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = await cli.start("watch", run_id, stdout=terminal, env={"TERM": "xterm"})
    os.close(terminal)
    drawn = await asyncio.to_thread(read_terminal, screen)
    ended = await finish(process)
    assert (ended.code, ended.err) == (0, "")
    assert ("━" in drawn) == bar
    assert ("2/2" in drawn) == count
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.rstrip()).rpartition("\r")[2].strip("\n")
    assert len(last) <= width


@pytest.mark.parametrize(("flags", "code", "count"), [([], 0, "2/2"), (["--timeout", "0"], 6, "0/2")])
async def test_a_submit_that_waits_draws_a_bar(
    flags: list[str], code: int, count: str, cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path
) -> None:
    if code == 0:
        gate.open.set()
    submit = ("submit", await put_gated(cli, tmp_path), "--input", "1", "--input", "2", "--wait", *flags)
    screen, terminal = pty.openpty()
    process = await cli.start(*submit, stdout=terminal, env={"TERM": "xterm", "COLUMNS": "100"})
    os.close(terminal)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", await asyncio.to_thread(read_terminal, screen))
    ended = await finish(process)
    gate.open.set()
    assert (ended.code, ended.err) == (code, "")
    lines = drawn.splitlines()
    names = [line.split()[0] for line in lines]
    assert lines[0].startswith("run ")
    assert any("━" in line and count in line for line in lines[1 : names.index("flow")])
    results = lines[max(index for index, name in enumerate(names) if name in {"created", "started", "completed"}) + 1 :]
    assert [line.split() for line in results] == [[str(index), "success", '"through"'] for index in range(2)][
        : 2 - code
    ]


async def test_ctrl_c_shows_the_cursor_again(cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path) -> None:
    run_id = await cli.output("submit", await put_gated(cli, tmp_path), "--input", "1")
    screen, terminal = pty.openpty()
    process = await cli.start("watch", run_id, stdout=terminal, env={"TERM": "xterm", "COLUMNS": "60"})
    os.close(terminal)
    drawn = b""
    while b"0/1" not in drawn:
        drawn += await asyncio.to_thread(os.read, screen, 4096)
    process.send_signal(signal.SIGINT)
    rest = await asyncio.to_thread(read_terminal, screen)
    ended = await finish(process)
    assert (ended.code, ended.err) == (130, "")
    assert rest.endswith("\x1b[?25h")
    gate.open.set()


async def test_a_reader_that_stops_reading_is_told_by_141(cli: CommandLine, serving: Serving, tmp_path: Path) -> None:
    inputs = write(tmp_path, "inputs.json", ["x" * 1_000] * 500)
    run_id = await cli.output("submit", await put_echo(cli, tmp_path), "--inputs", inputs)
    await cli.output("get", run_id, "--wait", "--json")
    for flags in ("", "--json"):
        command = f"runs-gateway get {run_id} --results {flags} | head -c 1 >&2; echo ${{PIPESTATUS[0]}}"
        assert await shell(command, serving, home=tmp_path) == ("141\n", "{" if flags else "r")


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", **UTF_8_OFF},
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin1", **UTF_8_OFF},
    ],
    ids=["C", "ASCII", "latin1"],
)
async def test_every_locale_shows_what_it_can(
    locale: dict[str, str], cli: CommandLine, serving: Serving, tmp_path: Path
) -> None:
    flow = write(tmp_path, "flöw.json", {"steps": [], "output": {"$input": "$"}})
    stored = await cli.run("put", flow, env=locale)
    assert (stored.code, stored.err) == (0, "")
    process = await cli.start(
        "submit", stored.out.strip(), "--input", '"é→😀"', "--flow-label", "é", "--wait", "--json", env=locale
    )
    out, err = await process.communicate()
    assert (process.returncode, b"Traceback" in err) == (0, False)
    status = json.loads(out.decode(locale.get("PYTHONIOENCODING", "utf-8")))
    assert status["flowLabel"] == "é"
    assert status["results"][0]["result"]["value"] == "é→😀"
    helped = await cli.run("--help", env=locale)
    assert (helped.code, helped.err) == (0, "")


@pytest.mark.parametrize(
    ("redirected", "code"),
    [("2>/dev/full", 2), ("2>&-", 2), (">&-", 1), (">&- 2>&-", 1), ("<&-", 2), (">/dev/full 2>/dev/full", 2)],
)
async def test_streams_that_are_closed_or_full(redirected: str, code: int, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f"'{PROGRAM}' put - {redirected}", stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE
    )
    ended = await finish(process)
    assert (ended.code, "Traceback" in ended.err) == (code, False)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:1", ": leave 'http://' out"),
        ("localhost", ": the port is missing"),
        ("127.0.0.1:0", "nothing can be reached at port 0"),
        ("HTTP", "the peer speaks HTTP/1, not gRPC"),
    ],
)
async def test_what_is_wrong_with_an_address_is_said(
    address: str, message: str, cli: CommandLine, serving: Serving
) -> None:
    address = serving.http.removeprefix("http://") if address == "HTTP" else address
    ended = await cli.run("get", "00000000-0000-0000-0000-000000000000", "--address", address)
    assert message in ended.err
    assert ended.err.count("\n") == 1


async def test_bash_completes_commands_flags_and_values(serving: Serving, tmp_path: Path) -> None:
    command = """
        eval "$(runs-gateway completion bash)"
        complete -p runs-gateway
        COMP_WORDS=(runs-gateway wa) COMP_CWORD=1 COMP_LINE="runs-gateway wa"
        _runs_gateway; echo "${COMPREPLY[@]}"
        COMP_WORDS=(runs-gateway get --res) COMP_CWORD=2
        _runs_gateway; echo "${COMPREPLY[@]}"
        COMP_WORDS=(runs-gateway serve --transport na) COMP_CWORD=3
        _runs_gateway; echo "${COMPREPLY[@]}"
    """
    out, err = await shell(command, serving, home=tmp_path)
    assert err == ""
    assert out.splitlines()[-3:] == ["watch", "--results", "native"]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
async def test_shells_get_a_script(name: str, cli: CommandLine) -> None:
    assert "runs-gateway" in await cli.output("completion", name)


async def test_the_module_is_the_program(cli: CommandLine) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway", "version", stdout=PIPE, stderr=PIPE)
    ended = await finish(process)
    assert (ended.code, ended.out.strip(), ended.err) == (0, await cli.output("--version"), "")


async def test_a_component_that_no_server_offers_names_the_flag(
    cli: CommandLine, serving: Serving, tmp_path: Path
) -> None:
    flow = {"steps": [{"id": "s", "component": "/demo/x", "input": 1}], "output": 1}
    flow_id = await cli.output("put", write(tmp_path, "flow.json", flow))
    ended = await cli.run("submit", flow_id, "--input", "1")
    assert "no component '/demo/x'" in ended.err
    assert "--component /demo=" in ended.err
