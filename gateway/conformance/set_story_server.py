"""The server that tells a client under test the story of a set, by WatchRuns."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc

from gateway.conformance.asked_of_watch import asked_of
from gateway.conformance.kit_server import KitMethod, watch_runs_method
from gateway.conformance.set_story import SetStory
from runs.v1 import runs_pb2


class SetStoryServer:
    """Serves WatchRuns for one set. `requests` has what was asked."""

    def __init__(self, story: SetStory) -> None:
        self._story = story
        self.requests: list[runs_pb2.WatchSet] = []

    def method(self) -> KitMethod:
        """The method that it serves."""
        return watch_runs_method(self._watch_runs)

    async def _watch_runs(
        self, requests: AsyncIterator[runs_pb2.WatchRunsRequest], context: Any
    ) -> AsyncGenerator[runs_pb2.WatchRunsResponse, None]:
        async with asked_of(requests) as asked:
            request = await asked.take()
            if request is None or not request.HasField("add_set"):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the kit expects a request for a set")
                return
            plan = self._story.plan(len(self.requests))
            self.requests.append(request.add_set)
            for message in self._story.told(request.add_set, plan)[: plan.messages]:
                yield message
            if plan.end is None:
                # A set goes on until the client removes it, or leaves.
                while (further := await asked.take()) is not None:
                    yield runs_pb2.WatchRunsResponse(set=further.remove_set, ended=runs_pb2.WatchEnded())
                await asyncio.get_running_loop().create_future()
            elif plan.end is not grpc.StatusCode.OK:
                await context.abort(plan.end, "the kit has cut the stream")
