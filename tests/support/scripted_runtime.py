"""A runtime whose runs change only when a test says so; everything else about it is real."""

import asyncio
import hashlib
import itertools
import uuid
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from gateway.core.errors import BlobNotFound, FlowNotFound, IdempotencyConflict, RunNotFound, shutting_down
from gateway.core.model import (
    Blob,
    BlobType,
    ItemError,
    ItemResult,
    ItemStatistics,
    JsonText,
    Nanoseconds,
    ResultOrder,
    RunState,
    RunStatus,
    SubmitParams,
    blob_id_of,
)
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page, Runtime, Snapshot, text_size

FLOW = Blob('{"name":"scripted","steps":[],"output":null}', BlobType.FLOW)
START = 1_736_937_000_000_000_000
SECOND = 1_000_000_000
MISSING_RUN = "00000000-0000-4000-8000-000000000000"
MISSING_BLOB = "sha256:" + "0" * 64


def fold(updates: Iterable[RunStatus]) -> RunStatus:
    """The answer of runs/get that a stream of updates stands for."""
    updates = list(updates)
    if all(update.results is None for update in updates):
        return updates[-1]
    results = [result for update in updates for result in update.results or []]
    return replace(updates[-1], results=results)


@dataclass
class _Run:
    run_id: str
    params: SubmitParams
    states: list[RunState]
    completed: list[ItemResult] = field(default_factory=list)
    completed_at: Nanoseconds | None = None
    revision: int = 1

    def snapshot(self) -> Snapshot:
        total = len(self.states)
        prefix = next((index for index, state in enumerate(self.states) if not state.terminal), total)
        status = RunStatus(
            run_id=self.run_id,
            flow_id=self.params.flow_id,
            flow_name="scripted",
            flow_label=self.params.flow_label,
            status=self._state(),
            items=ItemStatistics(
                total=total,
                pending=self.states.count(RunState.PENDING),
                running=self.states.count(RunState.RUNNING),
                success=self.states.count(RunState.SUCCESS),
                failed=self.states.count(RunState.FAILED),
                cancelled=self.states.count(RunState.CANCELLED),
            ),
            created_at=START,
            completed_at=self.completed_at,
        )
        return Snapshot(status, self.revision, completions=len(self.completed), prefix=prefix)

    def _state(self) -> RunState:
        if not all(state.terminal for state in self.states):
            return RunState.PENDING if set(self.states) == {RunState.PENDING} else RunState.RUNNING
        for state in (RunState.FAILED, RunState.CANCELLED):
            if state in self.states:
                return state
        return RunState.SUCCESS

    def finish(self, index: int, result: ItemResult) -> None:
        assert not self.states[index].terminal
        self.states[index] = result.status
        self.revision += 1
        self.completed.append(result)
        if self._state().terminal:
            self.completed_at = result.completed_at


class ScriptedRuntime(Runtime):
    """Keeps runs in memory. `start`, `succeed`, `fail` and `cancel` change an item of the latest run, or of `run_id`.

    `watching` counts the watches that are open, `opened` those that ever were. `pages` are those that were asked for,
    and `asked` is set by the first; results are held back while `reading` is cleared, and come `page_length` at a time.
    An exception in `defect` is raised by every method.
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
        self.closed = False
        self.scopes: list[str] = []
        self._draining = False
        self._blobs: dict[str, Blob] = {}
        self._runs: dict[str, _Run] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._changed = asyncio.Condition()
        self._watches_changed = asyncio.Event()
        self._clock = itertools.count(START + SECOND, SECOND)

    async def put_blob(self, blob: Blob) -> str:
        self._fail_or_go_on()
        content = blob.content.encode() if isinstance(blob.content, str) else blob.content
        blob_id = blob_id_of(hashlib.sha256(content).hexdigest())
        self._blobs[blob_id] = blob
        return blob_id

    async def get_blob(self, blob_id: str) -> Blob:
        self._fail_or_go_on()
        if blob_id not in self._blobs:
            raise BlobNotFound(f"no blob has the id {blob_id}")
        return self._blobs[blob_id]

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        self._fail_or_go_on()
        if self._draining:
            raise shutting_down()
        if params.flow_id not in self._blobs:
            raise FlowNotFound(f"no flow has the id {params.flow_id}")
        self.scopes.append(scope)
        params = replace(params, wait=False, timeout=None, observability=None)
        if params.idempotency_key is not None:
            run_id = self._keys.setdefault((scope, params.idempotency_key), str(uuid.uuid4()))
        else:
            run_id = str(uuid.uuid4())
        run = self._runs.setdefault(run_id, _Run(run_id, params, [RunState.PENDING] * len(params.inputs)))
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
                    while not (self._draining or self.defect or run.snapshot() != latest):
                        await self._changed.wait()
                self._fail_or_go_on()
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
        self._run(run_id).states[index] = RunState.RUNNING
        self._run(run_id).revision += 1
        await self._announce()

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

    def _run(self, run_id: str | None) -> _Run:
        if run_id is None:
            return next(reversed(self._runs.values()))
        if run_id not in self._runs:
            raise RunNotFound(f"no run has the id {run_id}")
        return self._runs[run_id]

    def _fail_or_go_on(self) -> None:
        if self.defect is not None:
            raise self.defect
