"""An etcd server: where several orchestrators of an engine agree on who executes which run.

Debian's package etcd-server has it. It listens on a port of loopback, and keeps its data in the folder of the test.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.support.programs import program

_START_SECONDS: Final = 30.0
_ANY_PORT: Final = "http://127.0.0.1:0"
_ADDRESSES: Final = (
    "--listen-client-urls",
    "--advertise-client-urls",
    "--listen-peer-urls",
    "--initial-advertise-peer-urls",
)


@asynccontextmanager
async def etcd(folder: Path) -> AsyncIterator[str]:
    """A running server; its URL. Skips the test where etcd is not installed, but not in CI."""
    addresses = [text for name in _ADDRESSES for text in (name, _ANY_PORT)]
    process = await asyncio.create_subprocess_exec(
        program("etcd", "etcd-server"),
        *("--data-dir", str(folder / "etcd"), "--initial-cluster", f"default={_ANY_PORT}", *addresses),
        *("--logger", "zap", "--log-outputs", "stderr"),
        env={},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    reading = None
    try:
        async with asyncio.timeout(_START_SECONDS):
            address = await _address(process.stderr)
        # Its log is read on, or it would have to wait for that.
        reading = asyncio.create_task(process.stderr.read())
        yield f"http://{address}"
    finally:
        process.kill()
        await process.wait()
        if reading is not None:
            await reading


async def _address(log: asyncio.StreamReader) -> str:
    """Where it serves clients, as its log says once it does."""
    async for line in log:
        if line.startswith(b"{") and (entry := json.loads(line))["msg"].startswith("serving client traffic"):
            return str(entry["address"])
    raise AssertionError("etcd has ended")
