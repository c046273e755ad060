"""The sets of runs that one WatchRuns stream follows, beside its runs."""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.adapter.grpc_status import to_status
from gateway.adapter.proto_wire import varint
from gateway.adapter.sets_proto import EVENT_NUMBERS, set_params_from_proto
from gateway.core.errors import GatewayError, Overloaded, Unavailable
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import MAX_KEY_LENGTH
from gateway.core.run_sets import SetEvent
from gateway.fronts.grpc.answer_form import AnswerForm, not_received
from gateway.fronts.grpc.calls import CapacityLimiter, Context
from gateway.fronts.grpc.connections import SMALL_MESSAGE, Connections
from gateway.fronts.grpc.messages import UpdateMessages
from gateway.fronts.grpc.observed_context import call_of
from gateway.runs.service import RunsService
from gateway.runs.set_follower import SetFollower
from gateway.runs.set_update import ChangeUpdate, SetCaughtUp
from runs.v1 import runs_pb2

SET_BYTES: Final = 64 << 10
"""What following a set on a stream takes: a part of its changes."""

IN_A_TURN: Final = 16
"""How many updates of a set are sent before others of the stream have their turn."""

_UPDATE_TAG: Final = bytes([runs_pb2.WatchRunsResponse.UPDATE_FIELD_NUMBER << 3 | 2])
_RUN_ID_TAG: Final = bytes([runs_pb2.WatchRunsResponse.RUN_ID_FIELD_NUMBER << 3 | 2])
_ENVELOPE: Final = MAX_KEY_LENGTH * 4 + 64


class FollowedSet:
    """A set that a stream follows; `follower` is None when the stream has dropped it."""

    __slots__ = ("_heads", "follower", "form", "is_queued", "name")

    def __init__(self, name: str, form: AnswerForm) -> None:
        self.name = name
        self.form = form
        self.follower: SetFollower | None = None
        self.is_queued = False
        self._heads = {
            event: runs_pb2.WatchRunsResponse(set=name, set_event=number).SerializeToString()
            for event, number in EVENT_NUMBERS.items()
        }

    def around(self, run_id: str, event: SetEvent, update: bytes) -> bytes:
        """The WatchRunsResponse around a serialized update, which is not parsed and copied for it."""
        name = run_id.encode()
        head = (_RUN_ID_TAG, varint(len(name)), name, self._heads[event], _UPDATE_TAG, varint(len(update)), update)
        return b"".join(head)


class WatchedSets:
    """Adds, sends and removes the sets of a stream.

    `enqueue` lets a set have its turn, `answer` sends a message when it is its turn. At most `most` sets; `followed`
    counts those of all streams together.
    """

    def __init__(
        self,
        service: RunsService,
        messages: UpdateMessages,
        connections: Connections,
        context: Context,
        *,
        most: int,
        followed: CapacityLimiter,
        enqueue: Callable[[FollowedSet], None],
        answer: Callable[[bytes], None],
    ) -> None:
        self._service = service
        self._messages = messages
        self._connections = connections
        self._context = context
        self._memory = connections.of(context)
        self._most = most
        self._followed = followed
        self._enqueue = enqueue
        self._answer = answer
        self._sets: dict[str, FollowedSet] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def add(self, request: runs_pb2.WatchSet) -> None:
        """Follow a set; one that has this name is followed no more. What is wrong with it is told as its error."""
        name = request.name
        followed = FollowedSet(name[:MAX_KEY_LENGTH], AnswerForm.of(request))
        if (earlier := self._sets.get(name)) is not None:
            self._drop(earlier)
        try:
            followed.follower = self._follower(followed, request)
        except Unavailable:
            raise
        except GatewayError as error:
            self._answer(_failed(followed.name, error))
        else:
            self._sets[name] = followed
            self._enqueue(followed)

    def remove(self, name: str) -> None:
        """Follow a set no more, and say so."""
        if (followed := self._sets.get(name)) is not None:
            self._drop(followed)
        ended = runs_pb2.WatchRunsResponse(set=name[:MAX_KEY_LENGTH], ended=runs_pb2.WatchEnded())
        self._answer(ended.SerializeToString())

    async def send(self, followed: FollowedSet) -> None:
        """Send some updates of a set; nothing of it as soon as it has been dropped."""
        for _ in range(IN_A_TURN):
            if followed.follower is None:
                return
            try:
                update = await followed.follower.poll()
            except Unavailable:
                # It concerns all sets and runs: the server shuts down, or cannot reach its runtime.
                raise
            except Exception as error:
                await self._end(followed, error_to_tell(error))
                return
            if update is None:
                return
            if isinstance(update, SetCaughtUp):
                await self._context.write(_caught_up(followed.name, update))
            else:
                await self._send_update(followed, update)
        self._enqueue(followed)

    def close(self) -> None:
        """Drop all sets, and let go of the stream."""
        for followed in list(self._sets.values()):
            self._drop(followed)
        # The stream holds this object: they would hold each other, and all that the call has.
        self._enqueue = self._answer = _ignore

    def _follower(self, followed: FollowedSet, request: runs_pb2.WatchSet) -> SetFollower:
        params = set_params_from_proto(request)
        if len(self._sets) >= self._most:
            raise Overloaded(f"more than {self._most:,} sets on one stream")
        self._followed.take()
        try:
            self._memory.grow(SET_BYTES)
        except Overloaded:
            self._followed.give_back()
            raise
        try:
            counted = call_of(self._context).method.told
            return self._service.follow_set(params, lambda: self._enqueue(followed), counted=counted)
        except GatewayError:
            self._release()
            raise

    def _release(self) -> None:
        self._memory.shrink(SET_BYTES)
        self._followed.give_back()

    def _drop(self, followed: FollowedSet) -> None:
        """Follow it no more; it may still stand in the queue."""
        assert followed.follower is not None
        followed.follower.close()
        followed.follower = None
        del self._sets[followed.name]
        self._release()

    async def _send_update(self, followed: FollowedSet, update: ChangeUpdate) -> None:
        if update.deleted:
            gone = runs_pb2.GetRunResponse(resume_token=update.token, restarted=update.restarted)
            await self._context.write(followed.around(update.run_id, update.event, gone.SerializeToString()))
            return
        for message in self._messages.of(update, followed.form.encoding):
            if followed.follower is None:
                return
            if message is None:
                await asyncio.sleep(0)
            elif len(message) + _ENVELOPE > followed.form.limit:
                await self._end(followed, not_received("an update", len(message), followed.form.limit))
            elif len(message) <= SMALL_MESSAGE - _ENVELOPE:
                await self._context.write(followed.around(update.run_id, update.event, message))
            else:
                await self._connections.write(self._context, followed.around(update.run_id, update.event, message))

    async def _end(self, followed: FollowedSet, error: GatewayError) -> None:
        if followed.follower is not None:
            self._drop(followed)
            await self._context.write(_failed(followed.name, error))


def _ignore(_: object) -> None:
    """What a stream is told that has ended."""


def _caught_up(name: str, update: SetCaughtUp) -> bytes:
    caught_up = runs_pb2.CaughtUp(set=name, resume_token=update.token, restarted=update.restarted)
    return runs_pb2.WatchRunsResponse(set=name, caught_up=caught_up).SerializeToString()


def _failed(name: str, error: GatewayError) -> bytes:
    code, message, details = to_status(error)
    failure = runs_pb2.WatchError(code=code.value[0], message=message, status_details=details)
    return runs_pb2.WatchRunsResponse(set=name, error=failure).SerializeToString()
