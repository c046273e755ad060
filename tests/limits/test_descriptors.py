"""A gateway that may have few descriptors: HTTP connections take a part of them, and gRPC clients still get in."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from tests.support.http_front import RawConnection, call

PROGRAM = str(Path(sys.executable).with_name("runs-gateway"))
ARGUMENTS = (
    "serve --state :memory: --grpc-address 127.0.0.1:0 --http-address 127.0.0.1:0 --metrics-address off "
    "--log-level warning --json"
)


async def test_a_flood_of_http_connections_keeps_nobody_else_out() -> None:
    shell = f'ulimit -Sn 100; ulimit -Hn 256; exec "{PROGRAM}" {ARGUMENTS}'
    process = await asyncio.create_subprocess_exec("bash", "-c", shell, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        ready = json.loads(await process.stdout.readline())
        port = int(ready["http"].rpartition(":")[2])
        flood = [RawConnection(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(300)]
        first = await flood[0].send(call("blobs/put", {"data": 1, "blobType": "data"})).answer()
        assert first.json()["result"]["blobId"]
        assert (await flood[-1].answer()).status == 429
        async with grpc.aio.insecure_channel(ready["grpc"]) as channel:
            await channel.channel_ready()
        for connection in flood:
            await connection.close()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        log = (await process.stderr.read()).decode()
        await process.wait()
    assert re.fullmatch(r"\S+ \S+ WARNING gateway.fronts.http.gate: 85 HTTP connections are open: .*\n", log), log


@pytest.mark.parametrize("transport", ["grpcio", "native"])
async def test_a_gateway_without_descriptors_says_so_once_and_goes_on_when_it_has_some(transport: str) -> None:
    shell = f'ulimit -Sn 100; ulimit -Hn 100; exec "{PROGRAM}" {ARGUMENTS} --transport {transport}'
    process = await asyncio.create_subprocess_exec("bash", "-c", shell, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        ready = json.loads(await process.stdout.readline())
        host, _, port = ready["grpc"].rpartition(":")
        flood = [RawConnection(*await asyncio.open_connection(host, int(port))) for _ in range(110)]
        line = (await process.stderr.readline()).decode()
        assert "all 100 descriptors are in use" in line
        for connection in flood:
            await connection.close()
        async with grpc.aio.insecure_channel(ready["grpc"]) as channel:
            await channel.channel_ready()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        rest = (await process.stderr.read()).decode()
        await process.wait()
    assert rest == ""
