"""The calls of one worker."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from msgspec.structs import replace

from gateway.adapter.grpc_status import to_status
from gateway.concurrency.memory_account import MemoryShare
from gateway.core.clock import LATEST
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import ItemResult, Nanoseconds, RunStatus
from gateway.core.runtime import Runtime, Snapshot, text_size, text_sizes
from gateway.peers.link.connection import LinkConnection
from gateway.peers.link.messages import (
    MAX_NAME,
    MAX_RESULT_TEXT,
    MAX_RESULTS,
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

SUBMIT_BYTES: Final = 32 << 10
"""About what a submit holds until it has been answered: its task and its inputs."""


M = TypeVar("M", bound=LinkMessage)


class LinkSession:
    """Answers one worker, until it has gone or the session is closed; `ended` is then called."""

    def __init__(self, runtime: Runtime, hub: Hub, share: MemoryShare, ended: Callable[["LinkSession"], None]) -> None:
        self.connection: LinkConnection[Asked] = LinkConnection(Asked)  # type: ignore[arg-type]
        self.connection.receive = self._receive
        self.connection.lost = self._lost
        self.connection.resumed = self._tell_changed
        self._hub = hub
        self._runtime = runtime
        self._share = share
        self._ended = ended
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
                self._start(message, self._submit)
            case AskState():
                self._start(message, self._read_state)
            case AskPage():
                self._start(message, self._read_page)
            case AskWatch(call, run_id):
                self._follow(call, run_id)
            case EndWatch(call):
                self._leave(call)

    def _start(self, message: M, answer: Callable[[M], Awaitable[LinkMessage]]) -> None:
        task = asyncio.create_task(self._answer(message, answer))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _answer(self, message: M, answer: Callable[[M], Awaitable[LinkMessage]]) -> None:
        try:
            self.connection.send(await answer(message))
        except Exception as error:
            self.connection.send(_refused(message.call, error))

    async def _submit(self, message: AskSubmit) -> LinkMessage:
        with self._share.hold(SUBMIT_BYTES):
            return _state(message.call, await self._runtime.submit(message.params, ""))

    async def _read_state(self, message: AskState) -> LinkMessage:
        if message.revision is None:
            return _state(message.call, await self._runtime.get(message.run_id))
        snapshot = await self._runtime.get_since(message.run_id, message.revision)
        return ToldState(message.call, None) if snapshot is None else _state(message.call, snapshot)

    async def _read_page(self, message: AskPage) -> LinkMessage:
        results = await self._runtime.results(message.run_id, message.page)
        start, end = 0, _part_end(results, 0)
        if results and not end:
            return NotOverLink(message.call, message.run_id)
        with self._share.hold(text_sizes(results)):
            while start < end < len(results):
                await self.connection.writable()
                self.connection.send(ToldResults(message.call, results[start:end], more=True))
                await asyncio.sleep(0)
                start, end = end, _part_end(results, end)
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
            told = _state(call, snapshot)
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


def _state(call: int, snapshot: Snapshot) -> ToldState | NotOverLink:
    """A state, with the results that it has at hand if there are few."""
    status, results = snapshot.status, snapshot.results
    if not _is_short(status):
        return NotOverLink(call, status.run_id)
    if results is not None and _part_end(results, 0) < len(results):
        snapshot = replace(snapshot, results=None)
    return ToldState(call, snapshot)


def _is_short(status: RunStatus) -> bool:
    if status.extensions or status.items.extensions or len(status.flow_name or "") > MAX_NAME:
        return False
    return _is_kept(status.created_at) and _is_kept(status.completed_at)


def _part_end(results: Sequence[ItemResult], start: int) -> int:
    """Where the part of a page that begins with this result ends; there, if that result is too long for a link."""
    end = min(start + MAX_RESULTS, len(results))
    size = 0
    for index in range(start, end):
        result = results[index]
        size += text_size(result)
        if size > MAX_RESULT_TEXT or not _is_plain(result):
            return index
    return end


def _is_plain(result: ItemResult) -> bool:
    error = result.error
    return not result.extensions and not (error and error.extensions) and _is_kept(result.completed_at)


def _is_kept(time: Nanoseconds | None) -> bool:
    """Whether a message holds a time: runtimes elsewhere may tell of other centuries."""
    return time is None or -LATEST <= time <= LATEST


def _refused(call: int, error: Exception) -> ToldError:
    code, message, details = to_status(error_to_tell(error))
    return ToldError(call, code.value[0], message, details)
