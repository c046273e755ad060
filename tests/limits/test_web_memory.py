"""What the messages of Connect and gRPC-Web make the gateway hold is counted before it is held, and given back."""

import asyncio
import gzip
import importlib
import json
import re
import sys
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from gateway.access.access import OpenAccess
from gateway.access.limit_rules import LimitRule
from gateway.access.limits import CallerLimits
from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.web.frames import COMPRESSED, frame
from tests.support.command_line import CommandLine, Serving
from tests.support.web_front import BLOBS, RUNS, WebServer, web_server

zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

MIB: Final = 1 << 20
CLIENTS: Final = 60
CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {"gzip": gzip.compress, "zstd": zstd.compress}
NO_ROOM: Final = "the server has no memory left for this request"


class Client(NamedTuple):
    """A connection on which a test writes and reads as it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, path: str, body: bytes, *, coding: str, more: int = 0) -> None:
        """Send a request of gRPC-Web; `more` bytes of its body do not come."""
        head = f"POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc-web\r\n"
        self.writer.write(
            f"{head}Grpc-Encoding: {coding}\r\nContent-Length: {len(body) + more}\r\n\r\n".encode() + body
        )

    async def status(self) -> int:
        """The status of gRPC that a request is answered with."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await self.reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        return int(body.partition(b"grpc-status: ")[2].partition(b"\r\n")[0])


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection(*address.rsplit(":", 1)))
    try:
        yield client
    finally:
        client.writer.close()


def bomb(coding: str, size: int) -> bytes:
    """A frame whose message is much smaller than what it expands to."""
    return frame(CODINGS[coding](bytes(size)), COMPRESSED)


async def holding(server: WebServer, least: int, most: int) -> None:
    """Wait until so much is held."""
    while not least <= server.account.held <= most:  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.mark.parametrize("coding", ["identity", *CODINGS])
async def test_a_message_is_held_while_the_end_of_its_body_is_awaited(coding: str) -> None:
    message = frame(bytes(MIB)) if coding == "identity" else bomb(coding, MIB)
    async with web_server() as server:
        async with connected(server.front.address) as client:
            client.send(f"{RUNS}/SubmitRun", message, coding=coding, more=1)
            # It is held once, and beside it little.
            await holding(server, MIB, MIB + MIB // 8)
        await holding(server, 0, 0)


@pytest.mark.parametrize("coding", CODINGS)
async def test_what_does_not_fit_is_refused_while_it_expands(coding: str) -> None:
    account = MemoryAccount(4 * MIB)
    async with web_server(HttpLimits(body=64 * MIB), account=account) as server:
        async with connected(server.front.address) as client:
            client.send(f"{RUNS}/SubmitRun", bomb(coding, 32 * MIB), coding=coding)
            assert await client.status() == 8
        message = urlsafe_b64encode(CODINGS[coding](bytes(4 * MIB))).decode()
        query = {"encoding": "proto", "base64": "1", "compression": coding, "message": message}
        refused = await server.get(f"{BLOBS}/GetBlob", **query)
        assert (refused.status, refused.json()["message"]) == (429, NO_ROOM)
        await holding(server, 0, 0)


@pytest.mark.parametrize(("memory", "flags"), [(2 * MIB, 0), (64 * MIB, COMPRESSED)])
async def test_messages_are_compressed_while_there_is_memory_for_that(memory: int, flags: int) -> None:
    async with web_server(account=MemoryAccount(memory)) as server:
        run = await server.submit("1")
        await server.runtime.succeed(0, json.dumps("x" * 20_000))
        request = {"runId": run["runId"], "includeResults": True}
        answer = await server.stream(f"{RUNS}/GetRun", request, Connect_Accept_Encoding="zstd")
        assert answer.frames()[0][0] == flags
        await holding(server, 0, memory // 8)


async def test_what_callers_may_hold_bounds_their_messages_in_frames() -> None:
    access = OpenAccess()
    access.limits = CallerLimits([LimitRule(max_memory=MIB)])
    async with web_server(access=access) as server, connected(server.front.address) as client:
        client.send(f"{RUNS}/SubmitRun", frame(bytes(2 * MIB)), coding="identity")
        assert await client.status() == 8
        # All is given back, also of calls that succeed.
        for _ in range(50):
            assert (await server.call(f"{RUNS}/ListRuns", {})).status == 200
        assert await server.submit("1")
        await holding(server, 0, 0)


def _memory(serving: Serving, line: str) -> int:
    """What a process holds now (VmRSS), or the most that it has held so far (VmHWM), in bytes."""
    status = Path(f"/proc/{serving.process.pid}/status").read_text()
    return int(re.findall(rf"{line}:\s+(\d+) kB", status)[0]) << 10


@pytest.mark.parametrize("coding", CODINGS)
async def test_many_bombs_at_once_take_no_more_than_is_allowed(coding: str, tmp_path: Path) -> None:
    """What they expand to is fifteen times as much as that."""
    size, allowed = 16 * MIB, 64 * MIB
    flags = ("--state", ":memory:", "--max-memory", str(allowed))
    async with CommandLine(tmp_path).serving(*flags) as serving, AsyncExitStack() as stack:
        address = serving.http.removeprefix("http://")
        first, *clients = [await stack.enter_async_context(connected(address)) for _ in range(1 + CLIENTS)]
        first.send(f"{RUNS}/SubmitRun", bomb(coding, MIB), coding=coding)
        assert await first.status() == 3  # What one call needs has been imported.
        before, message = _memory(serving, "VmRSS"), bomb(coding, size)
        for client in clients:
            client.send(f"{RUNS}/SubmitRun", message, coding=coding)
        statuses = await asyncio.gather(*(client.status() for client in clients))
        assert _memory(serving, "VmHWM") - before < 3 * allowed
        assert 8 in statuses
        first.send(f"{RUNS}/ListRuns", frame(b""), coding="identity")
        assert await first.status() == 0
