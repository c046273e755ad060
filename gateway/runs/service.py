"""The runs service: waiting, ordering, resuming and time-outs over any runtime. Knows no transport."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple, Self

from msgspec.structs import replace

from gateway.concurrency.memory_account import MemoryAccount, MemoryPart, MemoryShare
from gateway.concurrency.paced_calls import PacedCalls
from gateway.core.model import (
    Blob,
    GetParams,
    ItemResult,
    ResultOrder,
    RunStatus,
    SubmitParams,
    is_canonical_blob_id,
)
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.run_sets import SetParams
from gateway.core.runtime import Runtime, Snapshot, text_sizes
from gateway.runs.bulk import BulkCalls
from gateway.runs.control import RunControl
from gateway.runs.deadlines import waiting_ends
from gateway.runs.follower import Follower, ResultsFollower, StatusFollower
from gateway.runs.hub import GRACE_SECONDS, Hub
from gateway.runs.ids import checked_blob_id, checked_run_id
from gateway.runs.listing import READS, RunLists
from gateway.runs.run_answer import ResultPages, RunAnswer
from gateway.runs.set_follower import SetFollower
from gateway.runs.set_hub import RINGS_FRACTION, SetHub
from gateway.runs.shared_reads import SharedReads
from gateway.runs.update import Update


class SharedParts(NamedTuple):
    """What the services over the views of one runtime have in common, since it is bounded for all of them together.

    Results are read of the runtime itself: only followers to whom the view has shown a run ask for them.
    """

    reads: SharedReads
    rings: MemoryPart
    bulk: MemoryShare
    lists: asyncio.Semaphore
    wakes: PacedCalls

    @classmethod
    def over(cls, runtime: Runtime, account: MemoryAccount) -> Self:
        """The parts over a runtime, which draw from an account."""
        return cls(
            SharedReads(runtime, account.share("results")),
            account.part(RINGS_FRACTION, "sets"),
            account.share("bulk_calls"),
            asyncio.Semaphore(READS),
            PacedCalls(),
        )


class RunsService:
    """Answers the runs methods over one runtime.

    `answer_by` is a value of `time.monotonic()` at which a waiting call answers with the current status, at the latest:
    `deadlines.time_to_answer` says it of a call with a deadline. Cancelling a call stops the waiting, never the run.
    All callers that wait for a run share one watch of it, which is kept for `grace` seconds after the last one has
    left. Pages of results that followers share, and what calls that concern many runs keep, draw from `account`.

    With `shared`, it is one of several services over views of a runtime: see `RunsServices`. Tokens of lists belong to
    `namespace`.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        grace: float = GRACE_SECONDS,
        account: MemoryAccount | None = None,
        shared: SharedParts | None = None,
        namespace: str | None = None,
    ) -> None:
        self._owns_parts = shared is None
        self.shared = shared = shared or SharedParts.over(runtime, account or MemoryAccount())
        self.hub = Hub(runtime, grace=grace, wakes=shared.wakes)
        self.sets = SetHub(runtime, shared.reads, shared.rings, shared.wakes, grace=grace)
        self.runtime = runtime
        self.control = RunControl(runtime)
        self.lists = RunLists(runtime, shared.lists, namespace=namespace)
        self.bulk = BulkCalls(runtime, self.lists, shared.bulk)
        self.readiness = runtime.readiness
        """Whether runs are accepted."""

    async def put_blob(self, blob: Blob, *, namespace: str = DEFAULT_NAMESPACE) -> str:
        """Store a blob in a namespace and return its canonical id."""
        return await self.runtime.put_blob(blob, namespace)

    async def get_blob(
        self,
        blob_id: str,
        admit: Callable[[int], Awaitable[None]] | None = None,
        *,
        namespace: str | None = None,
    ) -> Blob:
        """Return a blob of a namespace, or of any.

        `admit` is told the length of a long one before it is read, if it is known. It may wait, or raise.
        """
        blob_id = checked_blob_id(blob_id, "blob_id")
        if admit is None:
            return await self.runtime.get_blob(blob_id, namespace)
        found = await self.runtime.peek_blob(blob_id, namespace)
        if isinstance(found, int):
            await admit(found)
            found = await self.runtime.get_blob(blob_id, namespace)
        return found

    async def submit(
        self,
        params: SubmitParams,
        *,
        scope: str = "",
        answer_by: float | None = None,
        max_results_text: int | None = None,
    ) -> RunStatus:
        """Submit a run; with `wait`, return its final status and results, or the current ones when time is up.

        An idempotency key counts within `scope`: the task that submits, or "" for callers outside of any task. Results
        with more than `max_results_text` characters of text are left out: they are None.
        """
        opening = self.open_submit(params, scope=scope, answer_by=answer_by)
        del params
        return await _collected(await opening, max_results_text)

    async def open_submit(
        self,
        params: SubmitParams,
        *,
        scope: str = "",
        answer_by: float | None = None,
        accepted: Callable[[], None] | None = None,
    ) -> RunAnswer:
        """Like `submit`, for callers that read the results in pages.

        `accepted` is called when the run has been accepted: its inputs are held here no more.
        """
        if not is_canonical_blob_id(params.flow_id):
            params = replace(params, flow_id=checked_blob_id(params.flow_id, "flow_id"))
        until, wait = waiting_ends(params.timeout, answer_by), params.wait
        submitting = self.runtime.submit(params, scope)
        del params  # Its inputs may be many, and the end of the run far away.
        snapshot = await submitting
        if accepted is not None:
            accepted()
        if not wait:
            return RunAnswer(snapshot.status, None)
        if not snapshot.terminal:
            snapshot = await self._wait(snapshot, until)
        return self._with_results(snapshot, ResultOrder.BY_INDEX)

    async def get(self, params: GetParams, *, answer_by: float | None = None) -> RunStatus:
        """Return the status of a run; with `wait`, when it has finished or time is up."""
        return await _collected(await self.open_get(params, answer_by=answer_by))

    async def open_get(self, params: GetParams, *, answer_by: float | None = None) -> RunAnswer:
        """Like `get`, for callers that read the results in pages."""
        run_id = checked_run_id(params.run_id)
        until = waiting_ends(params.timeout, answer_by)
        snapshot = await self.runtime.get(run_id)
        if params.wait:
            snapshot = await self._wait(snapshot, until)
        if not params.include_results:
            return RunAnswer(snapshot.status, None)
        return self._with_results(snapshot, params.result_order)

    async def follow(self, params: GetParams, *, answer_by: float | None = None) -> AsyncGenerator[Update, None]:
        """Yield the current state, then each change; results are those that were not sent. Close it explicitly.

        Folds to the answer of `get`: the last status, with all results in the order in which they came. It goes on
        after the position that the resume token names; a token that cannot be understood starts anew, and the first
        update says so. When nothing has happened for the heartbeat interval, an update says so, too.
        """
        with self.follower(params, answer_by=answer_by) as follower:
            while (update := await follower.next()) is not None:
                yield update
                del update  # It may hold a mebibyte of results, and the next one may be hours away.

    def follower(
        self,
        params: GetParams,
        *,
        answer_by: float | None = None,
        on_change: Callable[[], None] | None = None,
        counted: bool = True,
    ) -> Follower:
        """Follow a run as `follow` does, for callers that follow many runs in one task: see `Follower.poll`.

        A follower that is not `counted` is a worker of this gateway, which counts its clients.
        """
        run_id = checked_run_id(params.run_id)
        until = waiting_ends(params.timeout, answer_by)
        # To wait for no time is to ask for the current state, which a watch may not have seen yet.
        watch = self.hub.watch(run_id, on_change) if params.wait and params.timeout != 0 else None
        if params.include_results:
            return ResultsFollower(self.runtime, watch, run_id, params, until, reads=self.shared.reads, counted=counted)
        return StatusFollower(self.runtime, watch, run_id, params, until, counted=counted)

    def follow_set(
        self, params: SetParams, on_change: Callable[[], None] | None = None, *, counted: bool = True
    ) -> SetFollower:
        """Follow a set of runs, until the follower is closed: see `SetFollower.poll`. `counted` is as of `follower`."""
        return self.sets.follow(params, on_change, counted=counted)

    async def close(self) -> None:
        """End everything that follows runs: it gets Unavailable."""
        await self.hub.close()
        await self.sets.close()
        if self._owns_parts:
            await self.shared.reads.close()

    @property
    def follows(self) -> bool:
        """Whether runs or sets are followed."""
        return len(self.hub) > 0 or len(self.sets) > 0

    async def _wait(self, snapshot: Snapshot, until: float | None) -> Snapshot:
        """The terminal snapshot, or the current one at `until`."""
        if snapshot.terminal:
            return snapshot
        with self.hub.watch(snapshot.status.run_id) as watch:
            while until is None or time.monotonic() < until:
                following = await watch.changed(until)
                if following is not None and following.revision > snapshot.revision:
                    snapshot = following
                    if snapshot.terminal:
                        break
        return snapshot

    def _with_results(self, snapshot: Snapshot, order: ResultOrder) -> RunAnswer:
        return RunAnswer(snapshot.status, ResultPages(self.runtime, snapshot, order))


async def _collected(answer: RunAnswer, max_text: int | None = None) -> RunStatus:
    """The status with all results that there are; without any if they exceed `max_text` characters."""
    if answer.results is None:
        return answer.status
    limit = math.inf if max_text is None else max_text
    results: list[ItemResult] = []
    size = 0
    while page := await answer.results.next():
        size += text_sizes(page)
        if size > limit:
            return answer.status
        results += page
    return replace(answer.status, results=results)
