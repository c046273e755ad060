"""The calls of one worker."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

from gateway.access.limits import NO_LIMITS, CallerLimits
from gateway.adapter.grpc_status import to_status
from gateway.concurrency.eager_tasks import EagerTasks
from gateway.concurrency.memory_account import MemoryShare
from gateway.core.caller import Caller
from gateway.core.internal_errors import error_to_tell
from gateway.core.runtime import Runtime, text_sizes
from gateway.fronts.link.states import SharedStates, part_end, state_told
from gateway.peers.link.connection import LinkConnection
from gateway.peers.link.messages import (
    Asked,
    AskPage,
    AskState,
    AskSubmit,
    AskWatch,
    EndWatch,
    LinkMessage,
    NotOverLink,
    ToldError,
    ToldResults,
    ToldState,
)
from gateway.runs.hub import Hub, Watch
from gateway.telemetry import tracing

SUBMIT_BYTES: Final = 32 << 10
"""About what a submit holds until it has been answered: its task and its inputs."""


class LinkSession:
    """Answers one worker, until it has gone or the session is closed; `ended` is then called.

    `states` is shared by the sessions of all workers.
    """

    def __init__(
        self,
        runtime: Runtime,
        hub: Hub,
        share: MemoryShare,
        states: SharedStates,
        ended: Callable[["LinkSession"], None],
        *,
        limits: CallerLimits = NO_LIMITS,
    ) -> None:
        self.connection: LinkConnection[Asked] = LinkConnection(Asked)  # type: ignore[arg-type]
        self.connection.receive = self._receive
        self.connection.lost = self._lost
        self.connection.resumed = self._tell_changed
        self._hub = hub
        self._runtime = runtime
        self._share = share
        self._limits = limits
        self._states = states
        self._ended = ended
        self._tasks = EagerTasks()
        self._calls: set[asyncio.Task[None]] = set()
        self._watches: dict[int, Watch] = {}
        self._changed: dict[int, None] = {}
        """Followed runs with a state that is to be told when the worker reads again."""

    async def close(self) -> None:
        """End all calls, and the connection."""
        self._lost()
        self.connection.close()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _receive(self, message: Asked) -> None:
        match message:
            case AskSubmit():
                self._start(self._submit(message))
            case AskState():
                self._start(self._answer(message.call, self._read_state(message)))
            case AskPage():
                self._start(self._answer(message.call, self._read_page(message)))
            case AskWatch(call, run_id):
                self._follow(call, run_id)
            case EndWatch(call):
                self._leave(call)

    def _start(self, answering: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.start(answering)
        if task is not None:
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _answer(self, call: int, answer: Awaitable[LinkMessage]) -> None:
        try:
            self.connection.send(await answer)
        except Exception as error:
            self.connection.send(_refused(call, error))

    async def _submit(self, message: AskSubmit) -> None:
        try:
            if self._limits.limited:
                self._limits.stored(Caller.of_component(message.params.owner))
            self._share.take(SUBMIT_BYTES)
            try:
                submitting = self._runtime.submit(message.params, "")
                if message.trace is None:
                    snapshot = await submitting
                else:
                    with tracing.in_trace(message.trace):
                        snapshot = await submitting
                told = state_told(message.call, snapshot)
            finally:
                self._share.give_back(SUBMIT_BYTES)
            self.connection.send(told)
        except Exception as error:
            self.connection.send(_refused(message.call, error))

    async def _read_state(self, message: AskState) -> LinkMessage:
        if message.revision is None:
            return state_told(message.call, await self._runtime.get(message.run_id))
        snapshot = await self._runtime.get_since(message.run_id, message.revision)
        return ToldState(message.call, None) if snapshot is None else state_told(message.call, snapshot)

    async def _read_page(self, message: AskPage) -> LinkMessage:
        results = await self._runtime.results(message.run_id, message.page)
        start, end = 0, part_end(results, 0)
        if results and not end:
            return NotOverLink(message.call, message.run_id)
        with self._share.hold(text_sizes(results)):
            while start < end < len(results):
                await self.connection.writable()
                self.connection.send(ToldResults(message.call, results[start:end], more=True))
                await asyncio.sleep(0)
                start, end = end, part_end(results, end)
            await self.connection.writable()
            return ToldResults(message.call, results[start:end], more=False)

    def _follow(self, call: int, run_id: str) -> None:
        try:
            self._watches[call] = self._hub.watch(run_id, partial(self._tell, call))
        except Exception as error:
            self.connection.send(_refused(call, error))

    def _tell(self, call: int) -> None:
        """Tell the latest state of a run, if it is followed; later, if the worker does not read."""
        watch = self._watches.get(call)
        if watch is None:
            return
        if self.connection.congested:
            self._changed[call] = None
            return
        try:
            snapshot = watch.latest()
        except Exception as error:
            self._leave(call)
            self.connection.send(_refused(call, error))
            return
        if snapshot is not None:
            told = self._states.told(call, snapshot)
            self.connection.send(told)
            if snapshot.terminal or isinstance(told, NotOverLink):
                self._leave(call)

    def _tell_changed(self) -> None:
        changed, self._changed = self._changed, {}
        for call in changed:
            self._hub.wakes(partial(self._tell, call))

    def _leave(self, call: int) -> None:
        watch = self._watches.pop(call, None)
        if watch is not None:
            watch.close()

    def _lost(self) -> None:
        for call in list(self._watches):
            self._leave(call)
        for task in self._calls:
            task.cancel()
        self._ended(self)


def _refused(call: int, error: Exception) -> ToldError:
    code, message, details = to_status(error_to_tell(error))
    return ToldError(call, code.value[0], message, details)
