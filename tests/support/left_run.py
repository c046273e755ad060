"""A run that goes on while a client that follows it leaves, and how the server knows of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.client import AsyncRunsClient
from tests.support.counted import Counted
from tests.support.held_component import HELD, HeldComponent

_GET_RUN: Final = "runs.v1.RunsService/GetRun"


class LeftRun:
    """`address` is that of HTTP, `grpc` that of gRPC. The item of the run ends when `goes_on` lets it."""

    def __init__(self, gateway: Any, client: AsyncRunsClient, held: HeldComponent, run_id: str) -> None:
        self.address: str = gateway.addresses.http
        self.grpc: str = gateway.addresses.grpc
        self.run_id = run_id
        self._client = client
        self._held = held
        self._counted = Counted()

    async def is_left(self) -> None:
        """Wait until the one stream has ended as cancelled, and none is open."""
        async with asyncio.timeout(60):
            while not self._cancelled() or self._open():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def goes_on(self) -> None:
        """Nothing has happened to the run: its item executes yet, once, and it ends."""
        assert (await self._client.get(self.run_id)).status == "running"
        self._held.release(1)
        updates = [update async for update in self._client.watch(self.run_id)]
        assert updates[-1].run.status == "success"
        assert (self._held.given, self._held.lost) == ([1], [])

    def _cancelled(self) -> float:
        handled = self._counted.of("grpc_server_handled_total")
        return sum(number for labels, number in handled.items() if "GetRun" in labels and "Canceled" in labels)

    def _open(self) -> float:
        return self._counted.of("runs_gateway_open_streams").get((_GET_RUN,), 0)


@asynccontextmanager
async def left_run(start: Callable[..., Awaitable[Any]], **settings: Any) -> AsyncIterator[LeftRun]:
    """A run on a gateway that `start` starts, with these settings."""
    held = HeldComponent()
    async with held.server.running():
        gateway = await start(components={"/test": held.server.url}, **settings)
        async with AsyncRunsClient(gateway.addresses.grpc) as client:
            run = await client.submit(await client.put_flow(HELD), [1])
            await held.executes(1)
            yield LeftRun(gateway, client, held, run.run_id)
            await gateway.stop()
