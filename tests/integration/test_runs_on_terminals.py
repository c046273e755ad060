"""Runs on terminals and pipes: tables, questions before many runs are ended, and the live table of a set."""

import asyncio
import json
import os
import pty
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_cli import Gate, put_gated, read_terminal
from tests.support.command_line import PIPE, CommandLine, Serving, finish

TERMINAL = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}


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


def plain(drawn: str) -> str:
    """What is drawn, without the sequences that steer the terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)


async def test_a_list_is_a_table_on_a_terminal_and_lines_of_json_elsewhere(
    cli: CommandLine, serving: Serving, tmp_path: Path
) -> None:
    flow_id = await put_gated(cli, tmp_path)
    runs = [await cli.output("submit", flow_id, "--input", "1", "--label", f"n={number}") for number in range(2)]
    lines = (await cli.output("list", "--label", "n=1")).splitlines()
    assert [json.loads(line)["runId"] for line in lines] == runs[1:]
    screen, terminal = pty.openpty()
    process = await cli.start("list", stdout=terminal, env=TERMINAL)
    os.close(terminal)
    rows = [row.split() for row in plain(await asyncio.to_thread(read_terminal, screen)).splitlines()]
    ended = await finish(process)
    assert (ended.code, ended.err) == (0, "")
    assert rows[0] == ["RUN", "STATE", "ITEMS", "AGE", "FLOW"]
    assert [row[0] for row in rows[1:]] == runs[::-1]
    assert {row[2] for row in rows[1:]} == {"0/1"}


@pytest.mark.parametrize(("answer", "code", "said"), [("y", 0, "cancelled 2 runs\n"), ("n", 1, "")])
async def test_many_runs_are_ended_when_somebody_says_so(
    answer: str, code: int, said: str, cli: CommandLine, serving: Serving, tmp_path: Path
) -> None:
    flow_id = await put_gated(cli, tmp_path)
    runs = [await cli.output("submit", flow_id, "--input", "1") for _ in range(2)]
    keyboard, terminal = pty.openpty()
    process = await cli.start("cancel", "--flow", flow_id, stdin=terminal)
    os.close(terminal)
    os.write(keyboard, f"{answer}\n".encode())
    out, err = await process.communicate()
    os.close(keyboard)
    assert (process.returncode, out.decode()) == (code, said)
    lines = err.decode().splitlines()
    assert lines[0] == "would cancel 2 runs:"
    assert [line.split()[0] for line in lines[1:3]] == runs[::-1]
    assert lines[3].startswith("cancel them? [y/N] ")
    states = [json.loads(line)["status"] for line in (await cli.output("list")).splitlines()]
    assert states == ["cancelled" if code == 0 else "running"] * 2


async def test_a_question_ends_with_ctrl_c(cli: CommandLine, serving: Serving, tmp_path: Path) -> None:
    await cli.output("submit", await put_gated(cli, tmp_path), "--input", "1")
    keyboard, terminal = pty.openpty()
    process = await cli.start("cancel", "--all", stdin=terminal)
    os.close(terminal)
    assert process.stderr is not None
    await process.stderr.readuntil(b"[y/N] ")
    process.send_signal(signal.SIGINT)
    ended = await finish(process)
    os.close(keyboard)
    assert (ended.code, ended.out) == (130, "")
    assert json.loads(await cli.output("list"))["status"] == "running"


async def test_a_set_is_followed_as_lines_of_json(
    cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path
) -> None:
    flow_id = await put_gated(cli, tmp_path)
    run_id = await cli.output("submit", flow_id, "--input", "1")
    process = await cli.start("list", "--follow", "--state", "running", stdout=PIPE)
    assert process.stdout is not None

    async def event() -> dict[str, object]:
        assert process.stdout is not None
        return dict(json.loads(await process.stdout.readline()))

    first = await event()
    assert (first["event"], first["runId"], first["run"]["status"]) == ("added", run_id, "running")  # type: ignore[index]
    assert await event() == {"event": "caughtUp"}
    await cli.output("cancel", run_id)
    left = await event()
    assert (left["event"], left["runId"], left["run"]["status"]) == ("left", run_id, "cancelled")  # type: ignore[index]
    process.send_signal(signal.SIGINT)
    ended = await finish(process)
    assert (ended.code, ended.err) == (130, "")


async def test_a_set_is_followed_in_a_table_on_a_terminal(
    cli: CommandLine, serving: Serving, gate: Gate, tmp_path: Path
) -> None:
    flow_id = await put_gated(cli, tmp_path)
    first = await cli.output("submit", flow_id, "--input", "1")
    screen, terminal = pty.openpty()
    process = await cli.start("list", "--follow", stdout=terminal, env=TERMINAL)
    os.close(terminal)
    drawn = b""

    async def until(text: str) -> None:
        nonlocal drawn
        while text not in plain(drawn.decode(errors="replace")):
            drawn += await asyncio.to_thread(os.read, screen, 4096)

    await until(first)
    second = await cli.output("submit", flow_id, "--input", "1")
    await until(second)
    await cli.output("delete", first, "--cancel")
    await until("\n1 run")
    process.send_signal(signal.SIGINT)
    rest = await asyncio.to_thread(read_terminal, screen)
    ended = await finish(process)
    assert (ended.code, ended.err) == (130, "")
    # The thread that draws may write once more after it.
    assert rest.rfind("\x1b[?25h") > rest.rfind("\x1b[?25l")
