"""The server that tells a client under test the stories of several runs, by WatchRuns, a message of each in turn."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any

import grpc

from gateway.conformance.asked_of_watch import AskedOfWatch, asked_of
from gateway.conformance.kit_server import KitMethod, watch_runs_method
from gateway.conformance.story import CallPlan, Story, plan_of
from runs.v1 import runs_pb2


class WatchStoryServer:
    """Serves WatchRuns for some runs. `asked` has, for each call, the tokens of the runs; `missed` those of others.

    The plans of the stories do not count: `plans` are how calls go. A stream begins when all runs are asked for whose
    end no stream has told yet.
    """

    def __init__(self, stories: Sequence[Story], plans: Sequence[CallPlan]) -> None:
        self._stories = {story.run_id: story for story in stories}
        self._plans = plans
        self._open = set(self._stories)
        self.asked: list[dict[str, bytes]] = []
        self.missed = 0

    def method(self) -> KitMethod:
        """The method that it serves."""
        return watch_runs_method(self._watch_runs)

    async def _watch_runs(
        self, requests: AsyncIterator[runs_pb2.WatchRunsRequest], context: Any
    ) -> AsyncGenerator[runs_pb2.WatchRunsResponse, None]:
        plan = plan_of(self._plans, len(self.asked))
        self.asked.append({})
        left = plan.messages
        async with asked_of(requests) as asked:
            told = self._told(asked, plan)
            try:
                while left != 0 and (message := await anext(told, None)) is not None:
                    yield message
                    left = left if left is None or message.update.heartbeat else left - 1
            finally:
                await told.aclose()
        if plan.end is not grpc.StatusCode.OK:
            await context.abort(plan.end, "the kit has cut the stream")

    async def _told(self, asked: AskedOfWatch, plan: CallPlan) -> AsyncGenerator[runs_pb2.WatchRunsResponse, None]:
        """The messages of a call, until nothing is left of the runs, and the client has closed its side or is cut."""
        streams: deque[Iterator[runs_pb2.WatchRunsResponse]] = deque()
        while True:
            is_cut = plan.end is not grpc.StatusCode.OK and not self._open
            while asked.waiting or self._missing() or not (streams or asked.closed or is_cut):
                if (request := await asked.take()) is None:
                    break
                streams.append(self._followed(request, plan))
            if not streams:
                return
            stream = streams.popleft()
            if (message := next(stream, None)) is not None:
                streams.append(stream)
                yield message

    def _missing(self) -> bool:
        """Whether a run has not been asked for in this call, although its end has not been told."""
        return not self._open <= set(self.asked[-1])

    def _followed(self, request: runs_pb2.WatchRunsRequest, plan: CallPlan) -> Iterator[runs_pb2.WatchRunsResponse]:
        """The messages of a run, which a client has asked for by now."""
        run_id = request.add.run_id
        story = self._stories.get(run_id)
        if story is None:
            return self._refused(run_id)
        told = story.told(request.add, plan)
        if plan.leaves_early and run_id not in self.asked[-1]:
            del told[1:]
        self.asked[-1][run_id] = request.add.resume_token
        return self._messages(run_id, story.heartbeats(request.add, plan) + told)

    def _refused(self, run_id: str) -> Iterator[runs_pb2.WatchRunsResponse]:
        self.missed += 1
        error = runs_pb2.WatchError(code=grpc.StatusCode.NOT_FOUND.value[0], message="no run has this id")
        yield runs_pb2.WatchRunsResponse(run_id=run_id, error=error)

    def _messages(
        self, run_id: str, updates: Sequence[runs_pb2.GetRunResponse]
    ) -> Iterator[runs_pb2.WatchRunsResponse]:
        for update in updates:
            if update.run.HasField("completed_at") and not update.heartbeat:
                self._open.discard(run_id)
            yield runs_pb2.WatchRunsResponse(run_id=run_id, update=update)
        yield runs_pb2.WatchRunsResponse(run_id=run_id, ended=runs_pb2.WatchEnded())
