"""The server that tells a client under test the story of a run, by GetRun."""

from collections.abc import AsyncGenerator
from typing import Any

import grpc

from gateway.conformance.kit_server import KitMethod
from gateway.conformance.story import Story, plan_of
from runs.v1 import runs_pb2


class StoryServer:
    """Serves GetRun for one run. `requests` has what was asked about it, `missed` counts calls about others."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.requests: list[runs_pb2.GetRunRequest] = []
        self.missed = 0

    def method(self) -> KitMethod:
        """The method that it serves."""
        return "GetRun", grpc.unary_stream_rpc_method_handler(
            self._get_run,
            request_deserializer=runs_pb2.GetRunRequest.FromString,
            response_serializer=runs_pb2.GetRunResponse.SerializeToString,
        )

    async def _get_run(
        self, request: runs_pb2.GetRunRequest, context: Any
    ) -> AsyncGenerator[runs_pb2.GetRunResponse, None]:
        """The messages that the plan of this call has."""
        if request.run_id != self._story.run_id:
            self.missed += 1
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no run has the id '{request.run_id}'")
        plan = plan_of(self._story.plans, len(self.requests))
        self.requests.append(request)
        for message in self._story.heartbeats(request, plan) + self._story.told(request, plan)[: plan.messages]:
            yield message
        if plan.end is not grpc.StatusCode.OK:
            await context.abort(plan.end, "the kit has cut the stream")
