"""Component servers that are spawned: starting, what they inherit, dying, stopping."""

import asyncio
import json
import logging
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.components import ComponentError, Components, Limits
from gateway.components.error import Code
from gateway.core.errors import ComponentUnavailable
from gateway.core.model import JsonText, ObservabilityContext

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests/data/components"
SERVER = shlex.join([sys.executable, str(DATA / "plain_server.py")])
CONTEXT = ObservabilityContext()


async def refuse(request: bytes, scope: str) -> bytes | None:
    raise AssertionError("no component was to ask for anything")


class Running(Components):
    async def run(self, component: str, payload: JsonText = "null") -> JsonText:
        return await self.execute(f"/t/{component}", payload, attempt=1, observability=CONTEXT, scope="t")


@asynccontextmanager
async def running(
    command: str = SERVER, environment: dict[str, str] | None = None, limits: Limits | None = None
) -> AsyncIterator[Running]:
    components = Running(
        {"/t": command},
        environment=environment or {},
        limits=limits or Limits(stop_timeout=30),
    )
    await components.start(refuse, None)
    try:
        yield components
    finally:
        await components.close()


@asynccontextmanager
async def lifeline() -> AsyncIterator[tuple[int, asyncio.Future[asyncio.StreamReader]]]:
    """A port to connect to; the connection ends with the process that made it."""
    connected: asyncio.Future[asyncio.StreamReader] = asyncio.get_running_loop().create_future()
    writers = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        connected.set_result(reader)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], connected
    server.close()
    for writer in writers:
        writer.close()


async def died(connected: asyncio.Future[asyncio.StreamReader]) -> None:
    """Wait until the process at the other end of a lifeline is gone."""
    with suppress(ConnectionResetError):
        assert await (await connected).read() == b""


# Starting


async def test_a_command_gets_the_configured_environment_and_nothing_else() -> None:
    # Python itself adds a locale where there is none.
    environment = {"GREETING": "hello = wörld", "LC_ALL": "C.UTF-8"}
    async with running(environment=environment) as components:
        assert json.loads(await components.run("environment")) == environment


async def fails_to_start(command: str, limits: Limits | None = None) -> ComponentError:
    async with running(command, limits=limits) as components:
        with pytest.raises(ComponentUnavailable, match="below /t are not available yet"):
            await components.resolve("/t/anything", patient=True)
        with pytest.raises(ComponentError) as caught:
            await components.run("pid")
    assert (caught.value.code, caught.value.unreachable) == (Code.NOT_STARTED, True)
    return caught.value


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("pass", "before it announced"),
        ("raise SystemExit('no')", "before it announced"),
        ("import os, time; os.close(1); time.sleep(3600)", "closed its output"),
        ("print('hello', flush=True); input()", "first line"),
        ("print('{\"port\": 0}', flush=True)", "first line"),
        ("print('x' * 1000000, flush=True)", "first line"),
        ("print('[' * 10000, flush=True)", "first line"),
    ],
)
async def test_a_command_that_does_not_announce_its_port(script: str, problem: str) -> None:
    error = await fails_to_start(shlex.join([sys.executable, "-c", script]))
    assert problem in error.message


async def test_a_first_line_without_end_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    script = "import sys, time; print('{\"port\": ' + '1' * 100_000, end='', flush=True); time.sleep(3600)"
    await fails_to_start(shlex.join([sys.executable, "-c", script]))
    assert any('the last that it printed:\n    {"port": 111' in message for message in caplog.messages)


@pytest.mark.parametrize("announcement", ["", "print('{\"port\": 1}', flush=True)"])
async def test_a_command_that_never_gets_ready(announcement: str) -> None:
    command = shlex.join([sys.executable, "-c", f"import time; {announcement or 'pass'}; time.sleep(3600)"])
    error = await fails_to_start(command, Limits(start_timeout=0.3, stop_timeout=30))
    assert "in time" in error.message


async def test_a_command_that_has_vanished(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh")
    script.chmod(0o755)
    components = Running({"/t": str(script)})
    script.unlink()
    await components.start(refuse, None)
    with pytest.raises(ComponentError, match="not found"):
        await components.run("pid")
    await components.close()


async def test_a_command_that_cannot_be_executed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = tmp_path / "script"
    script.write_text("no interpreter")
    script.chmod(0o755)
    with caplog.at_level(logging.INFO, "gateway.components"):
        await fails_to_start(str(script))
    assert any("cannot be executed" in message or "cannot be started" in message for message in caplog.messages)


async def test_commands_are_found_in_the_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path(sys.executable)
    monkeypatch.setenv("PATH", str(python.parent))
    async with running(f"{python.name} {shlex.quote(str(DATA / 'plain_server.py'))}") as components:
        assert int(await components.run("pid")) > 0


# Output


async def test_output_is_logged_and_never_blocks(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "gateway.components.output"):
        async with running() as components:
            assert await components.run("noise", "1000000") == "null"
    said = (record for record in caplog.records if record.name == "gateway.components.output")
    lines = [(record.levelno, record.getMessage()) for record in said]
    assert lines.count((logging.INFO, "/t: a line")) == 2
    assert lines.count((logging.INFO, f"/t: {'x' * 2000} ... (998000 bytes more)")) == 2
    assert len(lines) == 4


# Dying


async def test_a_command_that_dies_fails_what_runs_and_is_started_again() -> None:
    async with running() as components:
        before = await components.run("pid")
        hanging = [asyncio.create_task(components.run("hang")) for _ in range(3)]
        crashing = asyncio.create_task(components.run("crash", "3"))
        errors = await asyncio.gather(*hanging, crashing, return_exceptions=True)
        for error in errors:
            assert isinstance(error, ComponentError)
            assert (error.code, error.unreachable) == (Code.CONNECTION_LOST, True)
        assert await components.run("pid") != before


async def test_a_command_that_is_killed_is_started_again() -> None:
    async with running() as components:
        before = int(await components.run("pid"))
        hanging = asyncio.create_task(components.run("hang"))
        os.kill(before, signal.SIGKILL)
        with pytest.raises(ComponentError, match=r"lost|exited|reached"):
            await hanging
        assert int(await components.run("pid")) != before


# Stopping


async def test_closing_stops_a_command_and_its_children() -> None:
    async with lifeline() as (port, server), lifeline() as (child_port, child):
        async with running() as components:
            await components.run("hold", str(port))
            await components.run("child", str(child_port))
            await child
            hanging = asyncio.create_task(components.run("hang"))
        await died(server)
        await died(child)
        with pytest.raises(ComponentError):
            await hanging


async def test_a_command_that_ignores_the_signal_is_killed() -> None:
    async with lifeline() as (port, server):
        async with running(limits=Limits(stop_timeout=0.05)) as components:
            await components.run("hold", str(port))
            await components.run("stubborn")
        await died(server)


async def test_children_of_a_command_that_died_are_killed() -> None:
    async with lifeline() as (port, child), running() as components:
        await components.run("child", str(port))
        await child
        with pytest.raises(ComponentError):
            await components.run("crash", "1")
        await died(child)


async def test_closing_while_a_command_starts() -> None:
    command = shlex.join([sys.executable, "-c", "import time; time.sleep(3600)"])
    components = Components({"/t": command})
    starting = asyncio.create_task(components.start(refuse, None))
    await asyncio.sleep(0)
    await components.close()
    await starting
    with pytest.raises(ComponentError, match="shutting down"):
        await components.execute("/t/x", "null", attempt=1, observability=CONTEXT, scope="")


async def test_a_command_dies_with_the_process_that_started_it() -> None:
    async with lifeline() as (port, server):
        owner = await asyncio.create_subprocess_exec(
            sys.executable, str(DATA / "owner.py"), SERVER, str(port), cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}
        )
        await server
        owner.kill()
        await died(server)
        await owner.wait()
