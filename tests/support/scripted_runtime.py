"""A runtime whose runs change only when a test says so; everything else about it is real."""

import asyncio
import hashlib
import itertools
import time
import uuid
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import suppress

from msgspec.structs import replace

from gateway.core.errors import (
    BlobNotFound,
    FlowNotFound,
    IdempotencyConflict,
    InvalidParams,
    ParentCancelled,
    RunNotEnded,
    RunNotFound,
    shutting_down,
)
from gateway.core.items import ItemPage, StepStatus
from gateway.core.model import (
    Blob,
    BlobType,
    ItemError,
    ItemResult,
    JsonText,
    ResultOrder,
    RunState,
    RunStatus,
    SubmitParams,
    blob_id_of,
)
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import (
    RESULT_PAGE_BYTES,
    RESULT_PAGE_LENGTH,
    Page,
    RunPage,
    Runtime,
    Snapshot,
    fill_page,
    text_size,
)
from tests.support.scripted_run import SECOND, START, ScriptedRun, item_size

FLOW = Blob('{"name":"scripted","steps":[],"output":null}', BlobType.FLOW)
MISSING_RUN = "00000000-0000-4000-8000-000000000000"
MISSING_BLOB = "sha256:" + "0" * 64


def fold(updates: Iterable[RunStatus]) -> RunStatus:
    """The answer of runs/get that a stream of updates stands for."""
    updates = list(updates)
    if all(update.results is None for update in updates):
        return updates[-1]
    results = [result for update in updates for result in update.results or []]
    return replace(updates[-1], results=results)


class ScriptedRuntime(Runtime):
    """Keeps runs in memory.

    `start`, `succeed`, `fail`, `cancel_item` and `tell_steps` change an item of the latest run, or of `run_id`.

    `watching` counts the watches that are open, `opened` those that ever were. `pages` are those that were asked for,
    and `asked` is set by the first; results are held back while `reading` is cleared, and come `page_length` at a time.
    A cancel that waits does so while `stopped` is cleared. `cancelling` counts the cancels that are under way. The
    parent of a run is the one that its trace names. An exception in `defect` is raised by every method.
    """

    def __init__(self) -> None:
        self.watching = 0
        self.opened = 0
        self.pages: list[Page] = []
        self.asked = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self.page_length = RESULT_PAGE_LENGTH
        self.defect: Exception | None = None
        self.stopped = asyncio.Event()
        self.stopped.set()
        self.cancelling = 0
        self.listed: list[int] = []
        """The sizes of the pages of runs that were asked for."""
        self.closed = False
        self.scopes: list[str] = []
        self._draining = False
        self._blobs: dict[tuple[str, str], Blob] = {}
        """By namespace and id."""
        self._runs: dict[str, ScriptedRun] = {}
        self._keys: dict[tuple[str, str, str], str] = {}
        """By namespace, scope and key."""
        self._numbers = itertools.count()
        self._changed = asyncio.Condition()
        self._watches_changed = asyncio.Event()
        self._clock = itertools.count(START + SECOND, SECOND)

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        self._fail_or_go_on()
        content = blob.content.encode() if isinstance(blob.content, str) else blob.content
        blob_id = blob_id_of(hashlib.sha256(content).hexdigest())
        self._blobs[namespace, blob_id] = blob
        return blob_id

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        self._fail_or_go_on()
        for (kept_in, kept_id), blob in self._blobs.items():
            if kept_id == blob_id and namespace in (None, kept_in):
                return blob
        raise BlobNotFound(f"no blob has the id {blob_id}")

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        self._fail_or_go_on()
        if self._draining:
            raise shutting_down()
        if (params.namespace, params.flow_id) not in self._blobs:
            raise FlowNotFound(f"no flow has the id {params.flow_id}")
        self.scopes.append(scope)
        parent = self._parent(params)
        params = replace(params, wait=False, timeout=None, observability=None)
        if params.idempotency_key is not None:
            key = (params.namespace, scope, params.idempotency_key)
            run_id = self._keys.setdefault(key, str(uuid.uuid4()))
        else:
            run_id = str(uuid.uuid4())
        if run_id not in self._runs:
            states = [RunState.PENDING] * len(params.inputs)
            self._runs[run_id] = ScriptedRun(run_id, params, next(self._numbers), parent, states)
        run = self._runs[run_id]
        if run.params != params:
            raise IdempotencyConflict("the idempotency key was used before with other parameters")
        if not params.inputs:
            run.completed_at = START
        async with self._changed:
            self._changed.notify_all()
        return run.snapshot()

    async def get(self, run_id: str) -> Snapshot:
        self._fail_or_go_on()
        return self._run(run_id).snapshot()

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        self._fail_or_go_on()
        run = self._run(run_id)
        self._count_watches(1)
        self.opened += 1
        try:
            latest = run.snapshot()
            yield latest
            while not latest.terminal:
                async with self._changed:
                    while not (self._draining or self.defect or run.snapshot() != latest or self._gone(run_id)):
                        await self._changed.wait()
                self._fail_or_go_on()
                self._run(run_id)
                if self._draining:
                    raise shutting_down()
                latest = run.snapshot()
                yield latest
        finally:
            self._count_watches(-1)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        self.pages.append(page)
        self.asked.set()
        await self.reading.wait()
        self._fail_or_go_on()
        results = self._run(run_id).completed[page.first : page.completions]
        results = [result for result in results if page.start <= result.item_index < page.stop]
        if page.order is ResultOrder.BY_INDEX:
            results.sort(key=lambda result: result.item_index)
        sizes = itertools.accumulate(text_size(result) for result in results)
        fitting = sum(size <= RESULT_PAGE_BYTES for size in sizes)
        return results[: max(1, min(fitting, self.page_length))]

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        self._fail_or_go_on()
        run = self._run(run_id)
        self.cancelling += 1
        try:
            family = [other for other in self._runs.values() if other is run or _is_inside(other, run)]
            for other in sorted(family, key=ScriptedRun.depth, reverse=True):
                other.cancel(reason, next(self._clock))
            await self._announce()
            if until is not None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stopped.wait(), until - time.monotonic())
        finally:
            self.cancelling -= 1
        return run.snapshot()

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        self._fail_or_go_on()
        run = self._run(run_id)
        if cancel:
            await self.cancel(run_id, None)
        if not run.terminal:
            raise RunNotEnded("the run has not ended")
        self._runs.pop(run_id, None)
        self._keys = {key: other for key, other in self._keys.items() if other != run_id}
        await self._announce()

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        self._fail_or_go_on()
        self.listed.append(limit)
        if cursor and not cursor.isdecimal():
            raise InvalidParams.field("page_token", description="not a token of this server")
        runs = [run for run in self._runs.values() if wanted.matches(run.status())]
        if order is RunOrder.NEWEST_FIRST:
            runs = [run for run in reversed(runs) if not cursor or run.number < int(cursor)]
        else:
            runs = [run for run in runs if not cursor or run.number > int(cursor)]
        page = runs[:limit]
        return RunPage([run.status() for run in page], str(page[-1].number) if len(runs) > limit else "")

    async def count_runs(self, wanted: RunFilter) -> int:
        self._fail_or_go_on()
        return sum(wanted.matches(run.status()) for run in self._runs.values())

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        self._fail_or_go_on()
        run = self._run(run_id)
        indexes = [
            index for index, state in enumerate(run.states) if index >= start and (not states or state in states)
        ]
        items = [run.item(index, with_input=with_inputs) for index in indexes[:limit]]
        if sum(map(item_size, items)) > RESULT_PAGE_BYTES:
            items = fill_page(items, item_size)
        return ItemPage(items, indexes[len(items)] if len(items) < len(indexes) else None)

    async def drain(self) -> None:
        self._draining = True
        await self._announce()

    async def close(self) -> None:
        self.closed = True

    @property
    def run_ids(self) -> list[str]:
        """The runs that were accepted, oldest first."""
        return list(self._runs)

    def params(self, run_id: str) -> SubmitParams:
        """What a run was accepted with."""
        return self._run(run_id).params

    async def start(self, index: int, *, run_id: str | None = None) -> None:
        self._run(run_id).start(index, next(self._clock))
        await self._announce()

    def tell_steps(self, index: int, *steps: StepStatus, run_id: str | None = None) -> None:
        """What is told of the steps of an item."""
        self._run(run_id).steps[index] = steps

    async def succeed(self, index: int, value: JsonText = "null", *, run_id: str | None = None) -> None:
        await self._finish(run_id, index, RunState.SUCCESS, value=value)

    async def fail(self, index: int, error: ItemError, *, run_id: str | None = None) -> None:
        await self._finish(run_id, index, RunState.FAILED, error=error)

    async def cancel_item(self, index: int, *, run_id: str | None = None) -> None:
        await self._finish(run_id, index, RunState.CANCELLED)

    async def break_down(self, defect: Exception) -> None:
        """Raise `defect` from now on, in open watches too."""
        self.defect = defect
        await self._announce()

    async def watched(self, count: int) -> None:
        """Wait until `count` watches are open."""
        while self.watching != count:
            self._watches_changed.clear()
            await self._watches_changed.wait()

    async def submitted(self, count: int) -> None:
        """Wait until `count` runs have been accepted."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._runs) >= count)

    async def _finish(
        self,
        run_id: str | None,
        index: int,
        state: RunState,
        *,
        value: JsonText | None = None,
        error: ItemError | None = None,
    ) -> None:
        result = ItemResult(item_index=index, status=state, value=value, error=error, completed_at=next(self._clock))
        self._run(run_id).finish(index, result)
        await self._announce()

    def _count_watches(self, change: int) -> None:
        self.watching += change
        self._watches_changed.set()

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _run(self, run_id: str | None) -> ScriptedRun:
        if run_id is None:
            return next(reversed(self._runs.values()))
        if run_id not in self._runs:
            raise RunNotFound(f"no run has the id {run_id}")
        return self._runs[run_id]

    def _gone(self, run_id: str) -> bool:
        return run_id not in self._runs

    def _parent(self, params: SubmitParams) -> ScriptedRun | None:
        trace = params.observability
        parent = None if trace is None or trace.run_id is None else self._runs.get(trace.run_id)
        if parent is not None and parent.state() is RunState.CANCELLED:
            raise ParentCancelled("the run that it would be inside is cancelled")
        return parent

    def _fail_or_go_on(self) -> None:
        if self.defect is not None:
            raise self.defect


def _is_inside(run: ScriptedRun, outer: ScriptedRun) -> bool:
    while run.parent is not None:
        run = run.parent
        if run is outer:
            return True
    return False
