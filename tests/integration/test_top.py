"""`top` on a terminal: what it shows live, its keys, other sizes, and a terminal that is as it was afterwards."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_cli import Gate, put_gated
from tests.support.command_line import PIPE, CommandLine, Serving, finish
from tests.support.metrics_page import metrics_page
from tests.support.screen import PseudoTerminal

TERMINAL = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
FAST = ("--interval", "0.2")


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


@pytest.fixture
def screen() -> PseudoTerminal:
    return PseudoTerminal()


async def top(
    cli: CommandLine, screen: PseudoTerminal, *arguments: str, **variables: str
) -> asyncio.subprocess.Process:
    process = await cli.start(
        "top", *FAST, *arguments, stdin=screen.terminal, stdout=screen.terminal, env={**TERMINAL, **variables}
    )
    screen.close_terminal()
    return process


def rows(lines: list[str]) -> list[str]:
    """The runs that are shown."""
    heading = next((number for number, line in enumerate(lines) if line.startswith("RUN ")), len(lines))
    return [line.split()[0] for line in lines[heading + 1 : -1] if line]


async def test_runs_come_go_on_and_leave(
    cli: CommandLine, serving: Serving, gate: Gate, screen: PseudoTerminal, tmp_path: Path
) -> None:
    before = screen.attributes()
    flow_id = await put_gated(cli, tmp_path)
    first = await cli.output("submit", flow_id, "--input", "1", "--input", "2")
    with metrics_page("runs_gateway_items_executing 12\n") as page:
        process = await top(cli, screen, "--metrics-url", page.url)
        await screen.until(lambda lines: rows(lines) == [first] and "12 executing" in "".join(lines))
        lines = await screen.until(lambda lines: lines[-1] == "q quit   s sorted by newest")
        assert lines[0].startswith(f"gateway  {serving.grpc}")
        assert lines[1].startswith("runs     1 not ended   1 running")
        assert (screen.whole_screen, screen.cursor_hidden) == (True, True)
        second = await cli.output("submit", flow_id, "--input", "1")
        await screen.until(lambda lines: rows(lines) == [second, first])
        page.status = 500
        await screen.until(lambda lines: lines[2].startswith(f"no figures: {page.url}: the answer is 500"))
        screen.press("s")
        await screen.until(lambda lines: rows(lines) == [first, second] and "sorted by oldest" in lines[-1])
        await cli.output("cancel", first)
        await screen.until(lambda lines: rows(lines) == [second])
        gate.open.set()
        await screen.until(lambda lines: rows(lines) == [] and "0 not ended" in lines[1])
        screen.press("q")
        await screen.to_the_end()
    ended = await finish(process)
    assert (ended.code, ended.err) == (0, "")
    assert (screen.whole_screen, screen.cursor_hidden) == (False, False)
    assert before


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_figures_are_those_of_the_gateway(workers: str, cli: CommandLine, gate: Gate, tmp_path: Path) -> None:
    component = f"/gate={gate.server.url}"
    serve = ("--state", ":memory:", "--component", component, "--workers", workers, "--metrics-address", "127.0.0.1:0")
    async with cli.serving(*serve) as serving:
        run_id = await cli.output("submit", await put_gated(cli, tmp_path), "--input", "1")
        await gate.entered.wait()
        told = json.loads(await cli.output("top", *FAST, "--metrics-url", serving.metrics, "--json"))
        figures = told["gateway"]
        assert (figures["workers"], figures["items"]["executing"]) == (int(workers), 1)
        assert [(each["prefix"], each["up"]) for each in figures["components"]] == [("/gate", True)]
        assert figures["calls_per_second"]["grpc"] >= 0
        assert 0 < figures["memory"]["used"] < figures["memory"]["limit"]
        assert figures["followed_sets"] >= 1
        assert ([run["runId"] for run in told["runs"]], told["states"]["running"]) == ([run_id], 1)
        gate.open.set()


async def test_the_gateway_comes_back_after_a_restart(
    cli: CommandLine, gate: Gate, screen: PseudoTerminal, tmp_path: Path
) -> None:
    serve = ("--state", str(tmp_path / "runs.db"), "--component", f"/gate={gate.server.url}")
    socket = f"unix:{tmp_path}/grpc"
    async with cli.serving(*serve, grpc=socket):
        flow_id = await put_gated(cli, tmp_path)
        first = await cli.output("submit", flow_id, "--input", "1")
        process = await top(cli, screen, "--metrics-url", "off")
        await screen.until(lambda lines: rows(lines) == [first])
    async with cli.serving(*serve, grpc=socket):
        second = await cli.output("submit", flow_id, "--input", "1")
        lines = await screen.until(lambda lines: rows(lines) == [second, first])
        assert lines[2].startswith("no figures: they are off")
        screen.press("q")
        await screen.to_the_end()
    ended = await finish(process)
    assert (ended.code, ended.err) == (0, "")


async def test_it_fits_into_the_terminal_that_it_gets(
    cli: CommandLine, serving: Serving, screen: PseudoTerminal, tmp_path: Path
) -> None:
    flow_id = await put_gated(cli, tmp_path)
    runs = [await cli.output("submit", flow_id, "--input", "1") for _ in range(8)][::-1]
    process = await top(cli, screen, "--metrics-url", "off")
    await screen.until(lambda lines: rows(lines) == runs)
    screen.resize(24, 8)
    process.send_signal(signal.SIGWINCH)
    lines = await screen.until(lambda lines: lines[-1].startswith("q quit"))
    assert [row[:8] for row in rows(lines)] == [run[:8] for run in runs[: len(rows(lines))]]
    assert 1 <= len(rows(lines)) < 8
    screen.resize(60, 9)
    process.send_signal(signal.SIGWINCH)
    lines = await screen.until(lambda lines: lines[-1].startswith("q quit") and len(lines[-1]) > 24)
    shown = rows(lines)
    assert shown == runs[: len(shown)]
    screen.press("\x1b[B")
    await screen.until(lambda lines: rows(lines) == runs[1 : len(shown) + 1])
    screen.press("\x1b[H")
    await screen.until(lambda lines: rows(lines) == shown)
    screen.press("\x1b[6~")
    screen.press("\x1b[6~")
    await screen.until(lambda lines: rows(lines) == runs[-len(shown) :])
    screen.press("\x1b[A")
    await screen.until(lambda lines: rows(lines) == runs[-len(shown) - 1 : -1])
    screen.press("q")
    await screen.to_the_end()
    assert (await finish(process)).code == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
async def test_a_signal_leaves_the_terminal_as_it_was(
    number: signal.Signals, code: int, cli: CommandLine, serving: Serving, screen: PseudoTerminal
) -> None:
    before = screen.attributes()
    process = await top(cli, screen, "--metrics-url", "off")
    await screen.until(lambda lines: lines[-1].startswith("q quit"))
    during = screen.attributes()
    process.send_signal(number)
    await process.wait()
    after = screen.attributes()
    await screen.to_the_end()
    ended = await finish(process)
    assert (ended.code, ended.err) == (code, "")
    assert during != before
    assert after == before
    assert (screen.whole_screen, screen.cursor_hidden) == (False, False)


async def test_colours_are_left_out_where_they_are_not_wanted(
    cli: CommandLine, serving: Serving, screen: PseudoTerminal, tmp_path: Path
) -> None:
    await cli.output("submit", await put_gated(cli, tmp_path), "--input", "1")
    process = await top(cli, screen, "--metrics-url", "off", NO_COLOR="1")
    await screen.until(lambda lines: "1 running" in lines[1])
    screen.press("q")
    await screen.to_the_end()
    assert (await finish(process)).code == 0
    assert "\x1b[36m" not in screen.drawn


async def test_a_terminal_that_cannot_be_steered_gets_one_picture(
    cli: CommandLine, serving: Serving, screen: PseudoTerminal
) -> None:
    process = await top(cli, screen, "--metrics-url", "off", TERM="dumb")
    await screen.to_the_end()
    assert (await finish(process)).code == 0
    assert "\x1b" not in screen.drawn
    assert screen.lines[1].startswith("runs     0 not ended")


async def test_no_gateway_there_is_said_before_the_screen_is_taken(cli: CommandLine, screen: PseudoTerminal) -> None:
    process = await top(cli, screen, "--address", "127.0.0.1:1")
    await screen.to_the_end()
    ended = await finish(process)
    assert (ended.code, screen.drawn, ended.err.count("\n")) == (4, "", 1)


async def test_a_reader_that_has_gone_is_told_by_141(cli: CommandLine, serving: Serving) -> None:
    process = await cli.start("top", *FAST, "--metrics-url", "off", stdout=PIPE)
    assert process.stdout is not None
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    ended = await finish(process)
    assert (ended.code, ended.err) == (141, "")


async def test_it_sees_what_its_token_sees(cli: CommandLine, tmp_path: Path) -> None:
    made = json.loads(await cli.output("token", "create", "--name", "me", "--namespace", "mine", "--json"))
    tokens, token = tmp_path / "tokens.toml", tmp_path / "token"
    tokens.write_text(made["entry"], encoding="utf-8")
    token.write_text(made["token"], encoding="utf-8")
    serve = ("--state", ":memory:", "--tokens", str(tokens), "--metrics-address", "127.0.0.1:0")
    async with cli.serving(*serve) as serving:
        shown = ("top", *FAST, "--metrics-url", serving.metrics, "--json")
        told = json.loads(await cli.output(*shown, "--token-file", str(token)))
        assert (told["runs"], told["gateway"]["workers"]) == ([], 1)
        for flags in ((), ("--token-file", str(token), "--namespace", "other")):
            refused = await cli.run(*shown, *flags)
            assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
