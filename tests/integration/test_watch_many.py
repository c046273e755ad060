"""`watch` on a terminal with several runs and with a set: a live table, Ctrl-C, and a gateway that restarts."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_cli import Gate, put_gated
from tests.support.command_line import PIPE, CommandLine, Serving, finish
from tests.support.screen import PseudoTerminal

TERMINAL = {"TERM": "xterm", "LC_ALL": "C.UTF-8"}


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    async with gate.server.running():
        yield gate


@pytest.fixture
async def serving(cli: CommandLine, gate: Gate, tmp_path: Path) -> AsyncIterator[Serving]:
    async with cli.serving("--state", str(tmp_path / "runs.db"), "--component", f"/gate={gate.server.url}") as serving:
        yield serving


@pytest.mark.parametrize("by_label", [False, True])
async def test_runs_are_a_table_until_all_have_ended(
    by_label: bool, cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path
) -> None:
    flow_id = await put_gated(cli, tmp_path)
    submit = ("submit", flow_id, "--input", "1", "--label", "batch=7")
    runs = [await cli.output(*submit) for _ in range(3)]
    screen = PseudoTerminal(100, 24)
    which = ["--label", "batch=7"] if by_label else runs
    process = await cli.start("watch", *which, stdout=screen.terminal, env=TERMINAL)
    screen.close_terminal()
    await screen.until(lambda lines: any(line.startswith("3 runs: 3 running") for line in lines))
    await cli.output("cancel", runs[0])
    await screen.until(lambda lines: any(line.startswith("3 runs: 2 running, 1 cancelled") for line in lines))
    gate.open.set()
    await screen.to_the_end()
    ended = await finish(process)
    assert (ended.code, ended.err) == (5, "")
    assert any(line.startswith("3 runs: 2 success, 1 cancelled") for line in screen.lines)
    assert not screen.cursor_hidden


async def test_ctrl_c_shows_the_cursor_again(cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path) -> None:
    flow_id = await put_gated(cli, tmp_path)
    runs = [await cli.output("submit", flow_id, "--input", "1") for _ in range(2)]
    screen = PseudoTerminal()
    process = await cli.start("watch", *runs, stdout=screen.terminal, env=TERMINAL)
    screen.close_terminal()
    await screen.until(lambda lines: any(line.startswith("2 runs: 2 running") for line in lines))
    process.send_signal(signal.SIGINT)
    await screen.to_the_end()
    ended = await finish(process)
    assert (ended.code, ended.err) == (130, "")
    # The thread that draws may write once more after it.
    assert screen.drawn.rfind("\x1b[?25h") > screen.drawn.rfind("\x1b[?25l")


@pytest.mark.parametrize("by_label", [False, True])
async def test_a_restart_of_the_gateway_is_a_pause(
    by_label: bool, cli: CommandLine, gate: Gate, tmp_path: Path
) -> None:
    serve = ("--state", str(tmp_path / "runs.db"), "--component", f"/gate={gate.server.url}")
    socket = f"unix:{tmp_path}/grpc"
    async with cli.serving(*serve, grpc=socket):
        flow_id = await put_gated(cli, tmp_path)
        submit = ("submit", flow_id, "--input", "1", "--label", "batch=7")
        runs = [await cli.output(*submit) for _ in range(2)]
        process = await cli.start("watch", *(["--label", "batch=7"] if by_label else runs), stdout=PIPE)
        assert process.stdout is not None
        seen: set[str] = set()
        while seen != {*runs}:
            seen.add(json.loads(await process.stdout.readline())["runId"])
    gate.open.set()
    async with cli.serving(*serve, grpc=socket):
        ended = await asyncio.wait_for(finish(process), 60)
    assert ended.code == 0
    assert {*ended.err.splitlines()} == {"reconnected"}
    last = {status["runId"]: status["status"] for status in map(json.loads, ended.out.splitlines())}
    assert last == dict.fromkeys(runs, "success")
