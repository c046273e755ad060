"""Runs `runs-gateway` as a user does: as a process, with nothing in its environment that was not put there."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.session import coverage_settings

RUN_LINE = r"(?:run [0-9a-f-]{36}\n)?"
PIPE = asyncio.subprocess.PIPE
PROGRAM = str(Path(sys.executable).with_name("runs-gateway"))


class Finished(NamedTuple):
    """How a command ended and what it printed."""

    code: int | None
    out: str
    err: str


class CommandLine:
    """Commands with one environment. `launcher` starts the program, which follows; or another one, if that is empty."""

    def __init__(self, home: Path, launcher: Sequence[str] = (), *, program: Sequence[str] = (PROGRAM,)) -> None:
        places = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "PATH": os.defpath}
        # Gateways of other tests run at the same time, and only one has the default address.
        places["RUNS_GATEWAY_METRICS_ADDRESS"] = "off"
        self._environment = {**places, **coverage_settings()}
        self._program = (*launcher, *program)

    async def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: int | None = None, stdout: int = PIPE
    ) -> asyncio.subprocess.Process:
        """Start a command."""
        environment = {**self._environment, **(env or {})}
        stdin = asyncio.subprocess.DEVNULL if stdin is None else stdin
        return await asyncio.create_subprocess_exec(
            *self._program, *arguments, env=environment, stdin=stdin, stdout=stdout, stderr=PIPE
        )

    async def run(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Finished:
        """Run a command to its end."""
        process = await self.start(*arguments, env=env, stdin=PIPE)
        return await finish(process, stdin)

    async def output(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that succeeds, and return what it prints to standard output."""
        finished = await self.run(*arguments, stdin=stdin)
        assert finished.code == 0, finished
        # A submit that waits names its run there, so that its output is JSON alone.
        named = re.fullmatch(RUN_LINE, finished.err) if {"--wait", "--json"} < {*arguments} else not finished.err
        assert named, finished
        return finished.out.strip()

    @asynccontextmanager
    async def serving(
        self,
        *arguments: str,
        grpc: str = "127.0.0.1:0",
        http: str = "127.0.0.1:0",
        env: Mapping[str, str] | None = None,
    ) -> AsyncIterator["Serving"]:
        """Serve until the block is left, on free ports unless told otherwise; commands find this gateway meanwhile."""
        ports = ("--grpc-address", grpc, "--http-address", http)
        process = await self.start("serve", *ports, *arguments, "--json", env=env)
        try:
            assert process.stdout is not None
            line = await process.stdout.readline()
            assert line, await finish(process)
            addresses = json.loads(line)
            self._environment["RUNS_GATEWAY_ADDRESS"] = addresses["grpc"]
            yield Serving(process, **addresses)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


class Serving(NamedTuple):
    """A gateway that takes calls."""

    process: asyncio.subprocess.Process
    grpc: str
    http: str
    metrics: str = ""
    state: str = ""
    runtime: str = ""
    memory: str = ""
    page: str = ""


async def finish(process: asyncio.subprocess.Process, stdin: str = "") -> Finished:
    """Wait until a command has ended."""
    out, err = await process.communicate(stdin.encode() if process.stdin else None)
    return Finished(process.returncode, (out or b"").decode(), err.decode())
