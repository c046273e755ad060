"""A gateway that accepts anything, and notes what calls carry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from gateway.adapter.status_proto import run_status_to_proto
from gateway.client import ItemStatistics, RunState
from gateway.core.model import RunStatus
from runs.v1 import runs_pb2, runs_pb2_grpc

RUN_ID = "00000000-0000-0000-0000-000000000001"


def status(state: RunState = RunState.RUNNING) -> runs_pb2.RunStatus:
    items = ItemStatistics(total=1, running=1)
    return run_status_to_proto(RunStatus(run_id=RUN_ID, flow_id="f", status=state, items=items, created_at=0))


class NotingService(runs_pb2_grpc.RunsServiceServicer):
    """Accepts runs, and cuts each stream `cuts` times. It keeps the metadata of each call."""

    # What a test does not call stays out.
    CancelRun = CancelRuns = CreateToken = DeleteRun = DeleteRuns = ListItems = ListRuns = WatchRuns = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.carried: list[dict[str, Any]] = []
        self.cuts = 0
        self.refuses: grpc.StatusCode | None = None

    async def _note(self, context: Any) -> None:
        self.carried.append(dict(context.invocation_metadata()))
        if self.refuses is not None:
            await context.abort(self.refuses, "no")

    async def SubmitRun(self, request: Any, context: Any) -> runs_pb2.SubmitRunResponse:  # noqa: N802
        await self._note(context)
        return runs_pb2.SubmitRunResponse(run=status())

    async def SubmitRunStream(self, requests: Any, context: Any) -> runs_pb2.SubmitRunResponse:  # noqa: N802
        await self._note(context)
        async for _ in requests:
            pass
        return runs_pb2.SubmitRunResponse(run=status())

    async def GetRun(self, request: Any, context: Any) -> AsyncIterator[runs_pb2.GetRunResponse]:  # noqa: N802
        await self._note(context)
        yield runs_pb2.GetRunResponse(run=status(), revision=1, resume_token=b"1")
        if self.cuts:
            self.cuts -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        yield runs_pb2.GetRunResponse(run=status(RunState.SUCCESS), revision=2, resume_token=b"2")


@asynccontextmanager
async def serving(service: NotingService) -> AsyncIterator[str]:
    server = aio.server()
    runs_pb2_grpc.add_RunsServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
