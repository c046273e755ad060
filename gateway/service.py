"""The runs service: waiting, ordering and time-outs over any runtime. Knows no transport."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.errors import InvalidBlobId, InvalidRunId, Violation
from gateway.model import (
    Blob,
    GetParams,
    ItemResult,
    ResultOrder,
    RunStatus,
    SubmitParams,
    blob_digest,
    blob_id_of,
    canonical_run_id,
)
from gateway.runtime import Page, Runtime, Snapshot

DEADLINE_MARGIN = 0.1
"""Seconds before its deadline at which a waiting call answers with the current status: time to send the answer."""


class RunsService:
    """Answers the runs methods over one runtime.

    `deadline` is a value of `time.monotonic()` by which the caller must have its answer: a waiting call answers shortly
    before with the current status. Cancelling a call stops the waiting, never the run.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def put_blob(self, blob: Blob) -> str:
        """Store a blob and return its canonical id."""
        return await self._runtime.put_blob(blob)

    async def get_blob(self, blob_id: str) -> Blob:
        """Return a blob."""
        return await self._runtime.get_blob(_blob_id(blob_id, "blob_id"))

    async def submit(self, params: SubmitParams, *, scope: str = "", deadline: float | None = None) -> RunStatus:
        """Submit a run; with `wait`, return its final status and results, or the current ones when time is up.

        An idempotency key counts within `scope`: the task that submits, or "" for callers outside of any task.
        """
        params = params.model_copy(update={"flow_id": _blob_id(params.flow_id, "flow_id")})
        until = _until(params.timeout, deadline)
        snapshot = await self._runtime.submit(params, scope)
        if not params.wait:
            return snapshot.status
        snapshot = await self._wait(snapshot, until)
        return await self._with_results(snapshot, ResultOrder.BY_INDEX)

    async def get(self, params: GetParams, *, deadline: float | None = None) -> RunStatus:
        """Return the status of a run; with `wait`, when it has finished or time is up."""
        run_id = _run_id(params.run_id)
        until = _until(params.timeout, deadline)
        snapshot = await self._runtime.get(run_id)
        if params.wait:
            snapshot = await self._wait(snapshot, until)
        if not params.include_results:
            return snapshot.status
        return await self._with_results(snapshot, params.result_order)

    async def follow(self, params: GetParams, *, deadline: float | None = None) -> AsyncGenerator[RunStatus, None]:
        """Yield the current state, then each change; `results` are those not yielded before. Close it explicitly.

        Folds to the answer of `get`: the last status, with all results in the order in which they came.
        """
        run_id = _run_id(params.run_id)
        until = _until(params.timeout, deadline)
        sent = _Sent(params.result_order)
        async with aclosing(self._states(run_id, wait=params.wait, until=until)) as states:
            async for snapshot, last in states:
                if not params.include_results:
                    yield snapshot.status
                    continue
                results = await self._unsent(snapshot, sent, last=last)
                yield snapshot.status.model_copy(update={"results": results})
                while results and (results := await self._unsent(snapshot, sent, last=last)):
                    yield snapshot.status.model_copy(update={"results": results})

    async def _states(
        self, run_id: str, *, wait: bool, until: float | None
    ) -> AsyncGenerator[tuple[Snapshot, bool], None]:
        """The states to report, each with whether it is the last one."""
        if not wait:
            yield await self._runtime.get(run_id), True
            return
        async with aclosing(self._runtime.watch(run_id)) as changes:
            snapshot = await anext(changes)
            while not snapshot.status.status.terminal:
                yield snapshot, False
                following = await _next(changes, until)
                if following is None:
                    snapshot = await self._runtime.get(run_id)
                    break
                snapshot = following
        yield snapshot, True

    async def _wait(self, snapshot: Snapshot, until: float | None) -> Snapshot:
        """The terminal snapshot, or the current one at `until`."""
        if snapshot.status.status.terminal:
            return snapshot
        run_id = snapshot.status.run_id
        async with aclosing(self._runtime.watch(run_id)) as changes:
            while not snapshot.status.status.terminal:
                following = await _next(changes, until)
                if following is None:
                    return await self._runtime.get(run_id)
                snapshot = following
        return snapshot

    async def _with_results(self, snapshot: Snapshot, order: ResultOrder) -> RunStatus:
        sent = _Sent(order)
        results: list[ItemResult] = []
        while page := await self._unsent(snapshot, sent, last=True):
            results += page
        return snapshot.status.model_copy(update={"results": results})

    async def _unsent(self, snapshot: Snapshot, sent: "_Sent", *, last: bool) -> list[ItemResult]:
        """The next page of results that the snapshot has and that were not sent; empty when there are none."""
        page = sent.missing(snapshot, last=last)
        if page is None:
            return []
        results = await self._runtime.results(snapshot.status.run_id, page)
        sent.add(results)
        return results


class _Sent:
    """How far the results of a run have been sent in one order."""

    def __init__(self, order: ResultOrder) -> None:
        self._order = order
        self._next = 0
        self._count = 0

    def missing(self, snapshot: Snapshot, *, last: bool) -> Page | None:
        """What the snapshot has and was not sent; None if nothing.

        By index a result waits for all before it; in the last update it does not, since nothing follows that could fill
        the gap.
        """
        if self._order is ResultOrder.BY_COMPLETION:
            stop = snapshot.completions
        else:
            stop = snapshot.status.items.total if last else snapshot.prefix
        if self._next >= stop or self._count >= snapshot.completions:
            return None
        return Page(self._order, self._next, stop, snapshot.completions)

    def add(self, results: list[ItemResult]) -> None:
        """Note that these, the next ones in order, have been sent."""
        self._count += len(results)
        if self._order is ResultOrder.BY_COMPLETION:
            self._next = self._count
        elif results:
            self._next = results[-1].item_index + 1


async def _next(changes: AsyncGenerator[Snapshot, None], until: float | None) -> Snapshot | None:
    """The next snapshot; None when time is up."""
    if until is None:
        return await anext(changes)
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())) as limit:
            return await anext(changes)
    except TimeoutError:
        if not limit.expired():
            raise
        return None


def _until(timeout: float | None, deadline: float | None) -> float | None:
    """When waiting ends, as a value of `time.monotonic()`; None for never."""
    ends = []
    if timeout is not None:
        ends.append(time.monotonic() + timeout)
    if deadline is not None:
        ends.append(deadline - DEADLINE_MARGIN)
    return min(ends, default=None)


def _blob_id(text: str, field: str) -> str:
    digest = blob_digest(text)
    if digest is None:
        raise InvalidBlobId([Violation((field,), "expected 'sha256:' and 64 hex digits, or the digits alone")])
    return blob_id_of(digest)


def _run_id(text: str) -> str:
    run_id = canonical_run_id(text)
    if run_id is None:
        raise InvalidRunId([Violation(("run_id",), "expected a UUID")])
    return run_id
