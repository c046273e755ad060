"""Items that wait for runs of their own go elsewhere when their gateway stops, and none fails."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import Blob, BlobType, RunState, SubmitParams
from tests.integration.conftest import command
from tests.support import sdk
from tests.support.clients import GrpcClient
from tests.support.resumed_runs import ResumedRun, submitted
from tests.support.temporal_gateways import temporal_gateways
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

ITEMS = 4
HOLD: dict[str, Any] = {
    "steps": [{"id": "h", "component": "/sdk/hold", "input": {"$input": "$"}}],
    "output": {"$step": "h"},
}


class Held:
    """A port at which components hold, until they are let go."""

    def __init__(self) -> None:
        self._number = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._free = False
        self._more = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """The port, while the block lasts."""
        async with await asyncio.start_server(self._connected, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
            self.let_go()

    async def holds(self, number: int) -> None:
        """Wait until so many hold, or have held."""
        while self._number < number:
            self._more.clear()
            await self._more.wait()

    def let_go(self) -> None:
        """Let all go, and those that come later."""
        self._free = True
        for writer in self._writers:
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        self._more.set()
        self._writers.append(writer)
        if self._free:
            writer.close()


async def test_items_that_wait_for_runs_of_their_own_go_elsewhere_when_their_gateway_stops(
    sdk_python: Callable[[str], Path], tmp_path: Path
) -> None:
    server = TemporalServer(tmp_path)
    await server.start()
    (tmp_path / "objects").mkdir()
    component = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    arguments = ("--runtime", server.runtime(), "--blobs", f"file://{tmp_path}/objects", "--component", component)
    held = Held()
    try:
        async with held.listening() as port, temporal_gateways(tmp_path, 2, *arguments) as (first, second):
            await second.stop()
            client = GrpcClient(first.grpc)
            hold = await client.put_blob(Blob(json.dumps(HOLD), BlobType.FLOW))
            given = {"flow_id": hold, "items": [{"$input": "$"}]}
            step = {"id": "b", "component": "/sdk/batch_processor", "input": given}
            flow = json.dumps({"steps": [step], "output": {"$step": "b"}})
            flow_id = await client.put_blob(Blob(flow, BlobType.FLOW))
            inputs = [json.dumps({"port": port, "item": item}) for item in range(ITEMS)]
            run = await submitted(client, SubmitParams(flow_id=flow_id, inputs=inputs, idempotency_key="k"))
            await held.holds(ITEMS)
            await client.close()
            await second.start()
            await first.stop()
            await held.holds(2 * ITEMS)
            held.let_go()
            client = GrpcClient(second.grpc)
            follower = ResumedRun(run)
            status = await follower.follow([client])
            await client.close()
    finally:
        await server.kill()
    assert status is not None
    assert [result.error for result in follower.results] == [None] * ITEMS
    assert (status.status, status.items.success) == (RunState.SUCCESS, ITEMS)
    assert all(json.loads(result.value or "")["processed"] == 1 for result in follower.results)
