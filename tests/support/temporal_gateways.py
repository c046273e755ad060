"""Gateways as processes over one Temporal server and one storage. Each can be killed, and started at its addresses."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.command_line import PROGRAM
from tests.support.free_port import free_port
from tests.support.session import coverage_settings

_START_SECONDS = 60.0


class TemporalGateway:
    """One gateway. Its addresses are the same whenever it is started."""

    def __init__(self, home: Path, number: int, arguments: tuple[str, ...], env: Mapping[str, str]) -> None:
        self.grpc = f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        self.metrics = f"127.0.0.1:{free_port()}"
        self.log = home / f"gateway-{number}.log"
        self._arguments = (
            *("serve", "--json", "--grpc-address", self.grpc, "--http-address", self.http),
            *("--metrics-address", self.metrics, *arguments),
        )
        places = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "PATH": os.defpath}
        self._environment = {**places, **coverage_settings(), **env}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process. It runs."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it takes calls."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                PROGRAM,
                *self._arguments,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            line = await self._process.stdout.readline()
        assert line, self.log.read_text(errors="replace")[-3_000:]
        assert json.loads(line)["grpc"] == self.grpc

    async def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """Have it end in an orderly way."""
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()


@asynccontextmanager
async def temporal_gateways(
    home: Path, count: int, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[list[TemporalGateway]]:
    """So many gateways with these arguments, until the block is left."""
    gateways = [TemporalGateway(home, number, arguments, env or {}) for number in range(count)]
    try:
        await asyncio.gather(*(gateway.start() for gateway in gateways))
        yield gateways
    finally:
        await asyncio.gather(*(gateway.kill() for gateway in gateways))
