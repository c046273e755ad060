"""Streams of one run that a gateway ends in order, again and again, and the cheapest folds that still check them.

A thousand of them fit into one process: nothing is decoded that is not looked at.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from typing import Any, Final

import aiohttp
import grpc

from gateway.client import AsyncRunsClient, RunUpdate
from gateway.core.errors import go_away
from gateway.core.model import ResultOrder
from runs.v1 import runs_pb2
from tests.support.event_stream import following

ENDS: Final = (str(go_away()), "max connection age", "max_age")
"""How streams end: by the gateway, and by grpc if they begin while it closes their connection for its age."""

Note = Callable[[], None]
"""A stream calls it each time that it goes on anew."""
Follow = Callable[[Note], Coroutine[Any, Any, None]]
"""Follows the run to its end."""


class OnceEach:
    """The results of a run whose items are their own indexes: each comes once, whichever stream brings it."""

    def __init__(self, items: int) -> None:
        self._items = items
        self._missing = set(range(items))

    def add(self, results: Iterable[tuple[int, str]]) -> None:
        """Take the next results: the index of an item and the JSON text of its value."""
        for index, value in results:
            assert index in self._missing, f"the result of item {index} came twice"
            assert value == str(index)
            self._missing.remove(index)

    def complete(self, successes: int) -> None:
        """All have come, and the last status counts them all."""
        assert not self._missing, f"the results of these items never came: {sorted(self._missing)}"
        assert successes == self._items


class FollowedRun:
    """A run whose items are their own indexes, and the ways to follow it."""

    def __init__(self, run_id: str, items: int) -> None:
        self._run_id = run_id
        self._items = items
        self._request = runs_pb2.GetRunRequest(
            run_id=run_id, wait=True, include_results=True, result_order=runs_pb2.RESULT_ORDER_BY_COMPLETION
        )

    async def get_run(self, stub: Any, note: Note) -> None:
        """Follow it by GetRun of a bare stub."""
        seen = OnceEach(self._items)
        request = runs_pb2.GetRunRequest()
        request.CopyFrom(self._request)
        while True:
            call = stub.GetRun(request)
            try:
                while (response := await call.read()) is not grpc.aio.EOF:
                    request.resume_token = _token_after(response, seen)
                    last = response.run
                return seen.complete(last.items.success)
            except grpc.aio.AioRpcError as error:
                _check_end(error)
            note()

    async def watch_runs(self, stub: Any, note: Note) -> None:
        """Follow it by WatchRuns of a bare stub."""
        seen = OnceEach(self._items)
        request = runs_pb2.WatchRunsRequest(add=self._request)
        while True:
            call = stub.WatchRuns()
            try:
                with suppress(asyncio.InvalidStateError):  # It has ended before: reading says how.
                    await call.write(request)
                while (response := await call.read()).HasField("update"):
                    request.add.resume_token = _token_after(response.update, seen)
                    last = response.update.run
                assert response.HasField("ended"), response
                call.cancel()
                return seen.complete(last.items.success)
            except grpc.aio.AioRpcError as error:
                _check_end(error)
            note()

    async def watch(self, client: AsyncRunsClient, note: Note) -> None:
        """Follow it by `watch` of the client."""
        seen = OnceEach(self._items)
        order = ResultOrder.BY_COMPLETION
        async with aclosing(client.watch(self._run_id, include_results=True, order=order)) as updates:
            async for update in updates:
                _fold_update(update, seen, note)
                last = update.run
        seen.complete(last.items.success)

    async def watch_many(self, client: AsyncRunsClient, note: Note) -> None:
        """Follow it by `watch_many` of the client."""
        seen = OnceEach(self._items)
        async with aclosing(client.watch_many([self._run_id], include_results=True)) as events:
            async for _, event in events:
                if isinstance(event, RunUpdate):
                    _fold_update(event, seen, note)
                    last = event.run
        seen.complete(last.items.success)

    async def event_stream(self, session: aiohttp.ClientSession, url: str, note: Note) -> None:
        """Follow it by event streams."""
        seen = OnceEach(self._items)
        last_event_id: str | None = None
        params = {"runId": self._run_id, "wait": True, "includeResults": True, "resultOrder": "byCompletion"}
        while True:
            async with following(session, url, params, last_event_id=last_event_id) as events:
                async for event in events:
                    if event.id is None:
                        return seen.complete(event.message["result"]["items"]["success"])
                    status = event.params
                    assert not status.get("restarted")
                    seen.add((result["itemIndex"], str(result["result"]["result"])) for result in status["results"])
                    last_event_id = event.id
            note()


class EndingStreams:
    """Streams that go on after each end. `level` is how often each of them has gone on by now, at least."""

    def __init__(self) -> None:
        self.level = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._counts: list[int] = []
        self._at = Counter[int]()
        """How many streams have gone on so often."""
        self._moved = asyncio.Event()

    def follow(self, name: str, follow: Follow) -> None:
        """Begin a stream."""
        number = len(self._counts)
        self._counts.append(0)
        self._at[0] += 1
        task = asyncio.create_task(follow(lambda: self._note(number)), name=name)
        task.add_done_callback(lambda _: self._moved.set())
        self._tasks.append(task)

    def _note(self, number: int) -> None:
        count = self._counts[number]
        self._counts[number] = count + 1
        self._at[count] -= 1
        self._at[count + 1] += 1
        while not self._at[self.level]:
            self.level += 1
            self._moved.set()

    async def reach(self, level: int) -> None:
        """Wait until each stream has gone on so often."""
        while self.level < level:
            self._moved.clear()
            await self._moved.wait()
            for task in self._tasks:
                if task.done():
                    task.result()
                    raise AssertionError("a stream has ended before its run")

    async def ended(self) -> None:
        """Wait until all have come to the end of the run."""
        await asyncio.gather(*self._tasks)

    def late(self) -> str:
        """The streams that have not ended and have gone on least, by their names: what a test that hangs has to say."""
        open_ = [number for number, task in enumerate(self._tasks) if not task.done()]
        least = min((self._counts[number] for number in open_), default=0)
        late = Counter(self._tasks[number].get_name() for number in open_ if self._counts[number] == least)
        return f"of {len(open_)} open streams, these have gone on {least} times: {dict(late)}; all: {sum(self._counts)}"

    async def leave(self) -> None:
        """Follow nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _token_after(response: runs_pb2.GetRunResponse, seen: OnceEach) -> bytes:
    assert not response.restarted
    seen.add((result.item_index, result.value.json) for result in response.run.results)
    return response.resume_token


def _fold_update(update: RunUpdate, seen: OnceEach, note: Note) -> None:
    assert not update.restarted
    seen.add((result.item_index, str(result.value)) for result in update.results)
    if update.reconnected:
        note()


def _check_end(error: grpc.aio.AioRpcError) -> None:
    """A stream has ended in order, or was refused as it began at the end of a connection, which depends on speed."""
    if error.code() is grpc.StatusCode.INTERNAL:
        # It has ended before its request was sent, and grpc.aio puts this in the place of its status.
        assert error.details() == "Internal error from Core", error
    else:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error
        assert error.details() in ENDS, error
