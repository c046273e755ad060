"""The server that tells a story to a client under test."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from gateway.conformance.story import RUN_ID, CallPlan, Story
from runs.v1 import runs_pb2

_TOKEN = b"after "


class StoryServer:
    """Serves GetRun for one run. `requests` has what was asked about it, `missed` counts calls about others."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.requests: list[runs_pb2.GetRunRequest] = []
        self.missed = 0

    async def get_run(
        self, request: runs_pb2.GetRunRequest, context: Any
    ) -> AsyncGenerator[runs_pb2.GetRunResponse, None]:
        """The messages that the plan of this call has."""
        if request.run_id != RUN_ID:
            self.missed += 1
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no run has the id '{request.run_id}'")
        plans = self._story.plans
        plan = plans[min(len(self.requests), len(plans) - 1)]
        self.requests.append(request)
        for message in self._messages(request, plan):
            yield message
        if plan.end is not grpc.StatusCode.OK:
            await context.abort(plan.end, "the kit has cut the stream")

    def _messages(self, request: runs_pb2.GetRunRequest, plan: CallPlan) -> list[runs_pb2.GetRunResponse]:
        known = None if plan.forgets else _known(request.resume_token, len(self._story.parts))
        first = known or 0
        told = [self._story.message(number) for number in range(first, len(self._story.parts))]
        if first == len(self._story.parts):
            told = [self._story.state(first)]
        if request.resume_token and known is None:
            told[0].restarted = True
        if not request.include_results:
            for message in told:
                del message.run.results[:]
        beat = self._story.state(first)
        beat.heartbeat = True
        return [beat] * plan.heartbeats + told[: plan.messages]


def _known(token: bytes, most: int) -> int | None:
    """How many messages a token is behind; None if it is not one of this server."""
    number = token.removeprefix(_TOKEN)
    known = token.startswith(_TOKEN) and number.isdigit() and int(number) <= most
    return int(number) if known else None


@asynccontextmanager
async def serving(story: Story) -> AsyncIterator[tuple[str, StoryServer]]:
    """Tell a story on a free port of this machine. It yields the address, and the server."""
    server, service = aio.server(), StoryServer(story)
    get_run = grpc.unary_stream_rpc_method_handler(
        service.get_run,
        request_deserializer=runs_pb2.GetRunRequest.FromString,
        response_serializer=runs_pb2.GetRunResponse.SerializeToString,
    )
    # All other methods are UNIMPLEMENTED.
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("runs.v1.RunsService", {"GetRun": get_run}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", service
    finally:
        await server.stop(0)
