"""WatchRuns: many runs on one stream, written by one task.

A run that may have an update stands in a queue, once. For a client that reads slowly the queue moves slowly: it gets
the latest state of each run when the turn of the run comes.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from itertools import islice
from typing import NamedTuple, Self

from gateway.access.limits import FollowedByCaller
from gateway.adapter import params_proto
from gateway.adapter.grpc_status import to_status
from gateway.adapter.proto_wire import varint
from gateway.concurrency.notify import Notify
from gateway.core.errors import GatewayError, InvalidParams, Overloaded, Unavailable
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import canonical_run_id
from gateway.core.refusals import count_refusal
from gateway.fronts.grpc.answer_form import AnswerForm, not_received
from gateway.fronts.grpc.calls import CallerCapacity, CapacityLimiter, Context, answer_by
from gateway.fronts.grpc.connections import SMALL_MESSAGE, Connections
from gateway.fronts.grpc.messages import ENVELOPE_BYTES, UpdateMessages
from gateway.fronts.grpc.observed_context import call_of
from gateway.fronts.grpc.watch_sets import FollowedSet, WatchedSets
from gateway.runs.follower import Follower
from gateway.runs.service import RunsService
from gateway.runs.update import Update
from gateway.telemetry.run_log import of_run
from runs.v1 import runs_pb2

MAX_ANSWERS = 1_024
"""How many ends and errors may wait to be sent before no further request is read."""

MAX_ID_LENGTH = 255
"""How many characters of a malformed run id are sent back."""

RUN_BYTES = 2 << 10
"""What following a run on a stream takes."""

_CLOSE_BATCH = 64
_UPDATE_TAG = bytes([runs_pb2.WatchRunsResponse.UPDATE_FIELD_NUMBER << 3 | 2])


class WatchLimits(NamedTuple):
    """The most runs and sets of one stream, and what counts those of all streams together."""

    runs: int
    followed: CapacityLimiter
    sets: int
    followed_sets: CapacityLimiter

    def within(self, followed: FollowedByCaller) -> Self:
        """The limits of a stream of a caller, of whom `followed` counts what it follows."""
        if not followed.limited:
            return self
        runs, sets = (CallerCapacity(capacity, followed) for capacity in (self.followed, self.followed_sets))
        return self._replace(followed=runs, followed_sets=sets)


class WatchStream:
    """One WatchRuns call."""

    def __init__(
        self,
        service: RunsService,
        messages: UpdateMessages,
        connections: Connections,
        context: Context,
        limits: WatchLimits,
    ) -> None:
        self._service = service
        self._messages = messages
        self._connections = connections
        self._context = context
        self._memory = connections.of(context)
        self._answer_by = answer_by(context)
        self._max_runs = limits.runs
        self._followed = limits.followed
        self._runs: dict[str, _FollowedRun] = {}
        self._queue: deque[_FollowedRun | FollowedSet | bytes] = deque()
        self._answers = 0
        self._answered = Notify()
        self._woken = Notify()
        self.ended = False
        """Whether `end` was called."""
        self._sets = WatchedSets(
            service,
            messages,
            connections,
            context,
            most=limits.sets,
            followed=limits.followed_sets,
            enqueue=self._enqueue,
            answer=self._answer,
        )

    async def serve(self, requests: AsyncIterator[runs_pb2.WatchRunsRequest]) -> None:
        """Follow runs until the client has closed its side and all have ended, or until `end`."""
        reading = asyncio.create_task(self._read(requests))
        reading.add_done_callback(lambda _: self._woken.set())
        try:
            while self._queue or self._runs or self._sets or not reading.done():
                if reading.done():
                    reading.result()
                if self.ended:
                    return
                if not self._queue:
                    await self._woken.wait()
                elif isinstance(entry := self._queue.popleft(), _FollowedRun):
                    entry.is_queued = False
                    await self._send_update(entry)
                elif isinstance(entry, FollowedSet):
                    entry.is_queued = False
                    await self._sets.send(entry)
                else:
                    await self._send_answer(entry)
            reading.result()
        finally:
            reading.cancel()
            try:
                await asyncio.gather(reading, return_exceptions=True)
            finally:
                await self._close()

    def end(self) -> None:
        """Let `serve` return soon, whatever may follow."""
        self.ended = True
        self._woken.set()

    async def _read(self, requests: AsyncIterator[runs_pb2.WatchRunsRequest]) -> None:
        async for request in requests:
            action = request.WhichOneof("action")
            if action == "add":
                self._add(request.add)
            elif action == "remove":
                self._remove(request.remove)
            elif action == "add_set":
                self._sets.add(request.add_set)
            elif action == "remove_set":
                self._sets.remove(request.remove_set)
            else:
                raise InvalidParams.field("action", description="set add, remove, add_set or remove_set")
            while self._answers >= MAX_ANSWERS:
                await self._answered.wait()

    def _add(self, request: runs_pb2.GetRunRequest) -> None:
        run = _FollowedRun(request.run_id, AnswerForm.of(request))
        earlier = self._runs.get(run.key)
        if earlier is not None:
            self._drop(earlier)
        try:
            run.follower = self._follower(run, request)
        except Unavailable:
            raise
        except GatewayError as error:
            count_refusal(error)
            self._answer(_failed(run.run_id, error))
        else:
            self._runs[run.key] = run
            self._enqueue(run)

    def _follower(self, run: "_FollowedRun", request: runs_pb2.GetRunRequest) -> Follower:
        params = params_proto.get_params_from_proto(request)
        if len(self._runs) >= self._max_runs:
            raise Overloaded(f"more than {self._max_runs:,} runs on one stream")
        self._followed.take()
        try:
            self._memory.grow(RUN_BYTES)
        except Overloaded:
            self._followed.give_back()
            raise
        try:
            counted, wake = call_of(self._context).method.told, partial(self._enqueue, run)
            return self._service.follower(params, answer_by=self._answer_by, on_change=wake, counted=counted)
        except GatewayError:
            self._release()
            raise

    def _release(self) -> None:
        """Give back what a run has taken."""
        self._memory.shrink(RUN_BYTES)
        self._followed.give_back()

    def _remove(self, run_id: str) -> None:
        run = self._runs.get(_key(run_id))
        if run is not None:
            self._drop(run)
        self._answer(_ended(run_id if run is None else run.run_id))

    def _drop(self, run: "_FollowedRun") -> None:
        """Follow it no more; it may still stand in the queue."""
        assert run.follower is not None
        run.follower.close()
        run.follower = None
        del self._runs[run.key]
        self._release()

    def _enqueue(self, entry: "_FollowedRun | FollowedSet") -> None:
        if not entry.is_queued:
            entry.is_queued = True
            self._queue.append(entry)
            self._woken.set()

    def _answer(self, message: bytes) -> None:
        self._memory.grow(len(message))
        self._answers += 1
        self._queue.append(message)
        self._woken.set()

    async def _send_answer(self, answer: bytes) -> None:
        self._answers -= 1
        self._answered.set()
        self._memory.shrink(len(answer))
        await self._context.write(answer)

    async def _send_update(self, run: "_FollowedRun") -> None:
        """Send the next update of a run if there is one; no more of it as soon as the run has been dropped."""
        follower = run.follower
        if follower is None:
            return
        try:
            update = await follower.poll()
        except Unavailable:
            # It concerns all runs: the server shuts down, or cannot reach its runtime.
            raise
        except Exception as error:
            await self._end(run, _failed(run.run_id, error_to_tell(error, partial(of_run, run.run_id))))
            return
        if update is not None:
            await self._send_messages(run, update)
        if follower.ended or follower.is_complete:
            # At once, and not when its turn comes: each run that is told wholly is one less after a cut.
            await self._end(run, _ended(run.run_id))
        elif update is not None and not follower.is_idle:
            self._enqueue(run)

    async def _send_messages(self, run: "_FollowedRun", update: Update) -> None:
        for message in self._messages.of(update, run.form.encoding):
            if run.follower is None:
                return
            if message is None:
                await asyncio.sleep(0)
            elif len(message) + ENVELOPE_BYTES > run.form.limit:
                await self._end(run, _failed(run.run_id, not_received("an update", len(message), run.form.limit)))
            elif len(message) <= SMALL_MESSAGE - ENVELOPE_BYTES:
                await self._context.write(run.around(message))
            else:
                await self._connections.write(self._context, run.around(message))

    async def _end(self, run: "_FollowedRun", message: bytes) -> None:
        if run.follower is not None:
            self._drop(run)
            await self._context.write(message)

    async def _close(self) -> None:
        """Drop all sets, and all runs, a few at a time; at once if there is no time for that."""
        self._sets.close()
        try:
            while len(self._runs) > _CLOSE_BATCH:
                for run in list(islice(self._runs.values(), _CLOSE_BATCH)):
                    self._drop(run)
                await asyncio.sleep(0)
        finally:
            for run in list(self._runs.values()):
                self._drop(run)


class _FollowedRun:
    """A run that a stream follows; `follower` is None when the stream has dropped it."""

    __slots__ = ("_head", "follower", "form", "is_queued", "key", "run_id")

    def __init__(self, run_id: str, form: AnswerForm) -> None:
        self.key = _key(run_id)
        self.run_id = run_id
        self.form = form
        self.follower: Follower | None = None
        self.is_queued = False
        self._head = runs_pb2.WatchRunsResponse(run_id=run_id).SerializeToString() + _UPDATE_TAG

    def around(self, update: bytes) -> bytes:
        """The WatchRunsResponse around a serialized update, which is not parsed and copied for it."""
        return b"".join((self._head, varint(len(update)), update))


def _key(run_id: str) -> str:
    return canonical_run_id(run_id) or run_id


def _ended(run_id: str) -> bytes:
    return runs_pb2.WatchRunsResponse(run_id=run_id[:MAX_ID_LENGTH], ended=runs_pb2.WatchEnded()).SerializeToString()


def _failed(run_id: str, error: GatewayError) -> bytes:
    code, message, details = to_status(error)
    failure = runs_pb2.WatchError(code=code.value[0], message=message, status_details=details)
    return runs_pb2.WatchRunsResponse(run_id=run_id[:MAX_ID_LENGTH], error=failure).SerializeToString()
