"""Calls that go on over restarts of gateways: submits are repeated, and runs followed by resume tokens."""

import asyncio
from collections.abc import Sequence

import grpc

from gateway.adapter.params_proto import get_params_to_proto
from gateway.adapter.status_proto import run_status_from_proto
from gateway.core.errors import Overloaded, Unavailable
from gateway.core.model import GetParams, ItemResult, ResultOrder, RunStatus, SubmitParams
from tests.support.clients import GrpcClient, gateway_error

_PAUSE = 0.1


async def submitted(client: GrpcClient, params: SubmitParams) -> str:
    """Submit a run with a key, again and again until that is acknowledged; its id."""
    assert params.idempotency_key is not None
    while True:
        try:
            return (await client.submit(params)).run_id
        except (Unavailable, Overloaded) as error:
            await asyncio.sleep(error.retry_after or _PAUSE)


class ResumedRun:
    """Follows a run to its end, over any number of streams, at one gateway after the other."""

    def __init__(self, run_id: str, order: ResultOrder = ResultOrder.BY_COMPLETION) -> None:
        self.results: list[ItemResult] = []
        """What came, each result once."""
        self.cuts = 0
        self.revisions: list[int] = []
        self._run_id = run_id
        self._order = order
        self._token = b""

    @property
    def sequence(self) -> list[tuple[int, str | None]]:
        """Items and what they have come to, as they came."""
        return [(result.item_index, result.value) for result in self.results]

    async def follow(self, clients: Sequence[GrpcClient], stop_after: int | None = None) -> RunStatus | None:
        """Go on until the run has ended, or with so many results; at the next gateway if one cannot serve."""
        number = 0
        while True:
            try:
                return await self._stream(clients[number % len(clients)], stop_after)
            except (Unavailable, Overloaded) as error:
                number += 1
                self.cuts += 1
                await asyncio.sleep(error.retry_after or _PAUSE)

    async def _stream(self, client: GrpcClient, stop_after: int | None) -> RunStatus | None:
        params = GetParams(
            run_id=self._run_id, wait=True, include_results=True, result_order=self._order, resume_token=self._token
        )
        call = client.runs.GetRun(get_params_to_proto(params))
        status: RunStatus | None = None
        try:
            async for response in call:
                assert not response.restarted
                status = run_status_from_proto(response.run, with_results=True)
                self.results += status.results or []
                self._token = response.resume_token
                self.revisions.append(response.revision)
                if stop_after is not None and len(self.results) >= stop_after:
                    return status
        except grpc.aio.AioRpcError as error:
            raise gateway_error(error) from None
        finally:
            call.cancel()
        assert status is not None
        assert status.completed_at is not None
        return status
