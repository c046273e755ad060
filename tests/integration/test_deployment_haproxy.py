"""The files of haproxy in `deploy/` with a gateway of this machine: both fronts, and each protocol, at one address."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway.server.app import running
from gateway.server.listening import Addresses
from gateway.server.settings import ServeSettings
from tests.support.free_port import free_port
from tests.support.one_address import call_grpc, call_http
from tests.support.programs import program

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
FILES: Final = sorted(DEPLOY.rglob("haproxy.cfg"))
SECONDS: Final = 60.0
"""Nothing below takes nearly as long."""


def placed(file: Path, gateway: Addresses, folder: Path, address: str) -> Path:
    """The file with that address, and with one gateway in the place of all."""
    text = re.sub(r"gateway-\d:50051", gateway.grpc, file.read_text(encoding="utf-8"))
    text = re.sub(r"gateway-\d:8080", gateway.http, text)
    text = text.replace("check port 8080", f"check port {gateway.http.rpartition(':')[2]}")
    changed = folder / "haproxy.cfg"
    changed.write_text(text.replace("bind :50050", f"bind {address}"), encoding="utf-8")
    return changed


@asynccontextmanager
async def balancing(file: Path, gateway: Addresses, folder: Path) -> AsyncIterator[str]:
    """The load balancer of a file; its address."""
    haproxy, address = program("haproxy", "haproxy"), f"127.0.0.1:{free_port()}"
    changed = placed(file, gateway, folder, address)
    process = await asyncio.create_subprocess_exec(haproxy, "-db", "-f", str(changed), env={"PATH": os.defpath})
    try:
        await _listening(address)
        yield address
    finally:
        process.terminate()
        await process.wait()


async def _listening(address: str) -> None:
    host, _, port = address.partition(":")
    while True:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DEPLOY)))
async def test_each_protocol_is_served_at_one_address(file: Path, tmp_path: Path) -> None:
    settings = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "metrics_address": "off"}
    async with (
        asyncio.timeout(SECONDS),
        running(ServeSettings.model_validate({**settings, "state": ":memory:"})) as gateway,
        balancing(file, gateway, tmp_path) as address,
    ):
        await call_grpc(f"http://{address}")
        await call_http(f"http://{address}")
