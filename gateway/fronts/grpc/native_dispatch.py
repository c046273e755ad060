"""Takes calls from the native transport, and answers them."""

import asyncio
from collections import deque
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

import grpc
from pygrpc_native import EVENT_CANCEL, NativeGrpcFront

from gateway.concurrency.eager_tasks import EagerTasks
from gateway.core.errors import SHUTTING_DOWN, TooLarge
from gateway.core.internal_errors import release_frames
from gateway.fronts.grpc.calls import ending
from gateway.fronts.grpc.connections import COPIES, SMALL_MESSAGE, CallMemory, Connections
from gateway.fronts.grpc.entrance import Metadata, presented_in, until_expired
from gateway.fronts.grpc.native_calls import NativeAbort, NativeBacklog, NativeContext, NativeMethod, fail
from gateway.fronts.grpc.observed_context import cancelled_status
from gateway.telemetry import tracing

_TURN: Final = 4
"""Calls that begin in one turn of the event loop, at most: most of them end at once. The HTTP front begins one request
in a turn, which takes about as long as these."""

_EVENTS: Final = 32
"""Events that are worked on in one turn, at most: calls that are refused, or whose clients have left, take little."""

_STOPPING = (grpc.StatusCode.UNAVAILABLE, SHUTTING_DOWN)


class NativeDispatch:
    """The calls of the methods that the transport serves, in order of their numbers there."""

    def __init__(
        self, front: NativeGrpcFront, methods: list[NativeMethod], connections: Connections, receive: int
    ) -> None:
        self._front = front
        self._methods = methods
        self._connections = connections
        self._receive = receive
        self._small = min(SMALL_MESSAGE, receive)
        self._backlog = NativeBacklog(front)
        self._open_calls = self._backlog.answers.open_calls
        self._events: deque[Any] = deque()
        self._tasks = EagerTasks()
        self.calls: dict[int, asyncio.Task[None]] = {}
        """The calls that wait for something."""
        self._stopping = False

    def take(self, events: list[Any]) -> None:
        """Calls have come, or their clients have left."""
        behind = bool(self._events)
        self._events += events
        if not behind:
            self._begin()

    async def stop(self, grace: float) -> None:
        """Refuse new calls, give open ones `grace` seconds to end, then cancel them."""
        self._stopping = True
        if self.calls:
            await asyncio.wait(self.calls.values(), timeout=grace)
        calls = list(self.calls.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def _begin(self) -> None:
        """Begin a few calls, and the next ones in the next turn."""
        events = self._events
        begun = 0
        try:
            for _ in range(min(_EVENTS, len(events))):
                begun += self._handle(*events.popleft())
                if begun == _TURN:
                    break
        finally:
            if events:
                asyncio.get_running_loop().call_soon(self._begin)

    def _handle(self, kind: int, call_id: int, method: int, payload: bytes, _: object, details: Any) -> bool:
        """Work on an event, and return whether a call begins by it."""
        if kind == EVENT_CANCEL:
            if (left := self.calls.get(call_id)) is not None:
                left.cancel()
            return False
        called = self._methods[method]
        if self._stopping:
            self._front.fail(call_id, _STOPPING[0].value[0], _STOPPING[1])
            called.observed.refuse("UNAVAILABLE", "UNAVAILABLE")
            return False
        metadata, peer, remaining = details
        if (
            (entrance := called.entrance) is not None
            and entrance.limited
            and (refused := entrance.refusal(presented_in(metadata), peer)) is not None
        ):
            fail(self._front, call_id, *ending(refused))
            called.observed.refuse(refused.grpc_status, refused.grpc_status)
            return False
        context = NativeContext(self._backlog, call_id, called, peer, remaining)
        self._start(call_id, called.streams, self._answer(call_id, context, payload, metadata))
        return True

    def _start(self, call_id: int, streams: bool, answering: Coroutine[Any, Any, None]) -> None:
        if streams or tracing.tracer is not None:
            # It waits in any case, thousands of times: a task of its own from the first is cheaper to resume. While
            # spans are made, a call needs a context of its own from the first.
            self.calls[call_id] = call = asyncio.create_task(answering)
            # Not left to the call, which never begins if its client leaves at once.
            call.add_done_callback(partial(self._forget, call_id))
        elif (waiting := self._tasks.start(answering)) is not None:
            self.calls[call_id] = waiting

    def _forget(self, call_id: int, _: object) -> None:
        self.calls.pop(call_id, None)

    async def _answer(self, call_id: int, context: NativeContext, payload: bytes, metadata: Metadata) -> None:
        method = context.method
        call = context.begin(len(payload), metadata)
        self._open_calls[method.path] += 1
        status = ""
        try:
            memory = call.source = self._connections.count(context)  # type: ignore[arg-type]
            if (entrance := method.entrance) is not None and not entrance.knows(
                presented := presented_in(metadata), memory
            ):
                await entrance.identify(presented, memory)
            if len(payload) > self._small:
                self._count_large(memory, len(payload))
            answering = method.serve(method.deserialize(payload), context)
            if method.streams and (expires := memory.caller.expires) is not None:
                answering = until_expired(answering, expires)
            del payload
            response = await answering
            status = "OK"
            if method.streams:
                self._front.stream_end(call_id)
                return
            data = method.serialize(response)
            del response
            size = len(data)
            if self._front.respond(call_id, data):
                call.sent(size)
                if size > SMALL_MESSAGE:
                    del data
                    await self._backlog.answers.sent(method.path, size)
        except NativeAbort as abort:
            status = context.fail(abort.code, abort.details, abort.trailing_metadata)
        except asyncio.CancelledError as cancelled:
            status = status or self._cancelled(context)
            release_frames(cancelled)
            raise
        except Exception as error:
            status = context.fail(*ending(error))
        finally:
            self._end(call_id, context, status)

    def _cancelled(self, context: NativeContext) -> str:
        """The status of a call that is cancelled: the server stops; or its client has left, and is told nothing."""
        status = context.fail(*_STOPPING)
        if self._stopping:
            return status
        return cancelled_status(context)

    def _end(self, call_id: int, context: NativeContext, status: str) -> None:
        self.calls.pop(call_id, None)
        self._open_calls[context.method.path] -= 1
        context.call.end(status, status)
        self._connections.end(context)  # type: ignore[arg-type]

    def _count_large(self, memory: CallMemory, size: int) -> None:
        if size > self._receive:
            raise TooLarge("the request is larger than a message may be")
        memory.grow(COPIES * size)
