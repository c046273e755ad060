"""A runtime as a caller sees it: what is not in the caller's view does not exist.

A run that is hidden and one that does not exist take the same reads here, one `get` of the runtime, and end in the same
error. If the hidden one is in memory, another one is looked for that does not exist, so that it takes as long as well.
docs/limits.md says what may differ.
"""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing, suppress
from functools import cached_property
from typing import Final

import msgspec
from msgspec.structs import replace

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.caller import CallerView, narrowed
from gateway.core.clock import LATEST
from gateway.core.errors import BlobNotFound, InvalidParams, NotFound, PermissionDenied, RunNotFound, Unsupported
from gateway.core.items import ItemPage
from gateway.core.model import Blob, ItemResult, RunState, SubmitParams, canonical_run_id
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.readiness import Readiness
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetPart
from gateway.core.runtime import Page, RunPage, Runtime, Snapshot

SHOWN_RUNS: Final = 64
"""How many runs are known to be in the view without asking again: a run stays in the views that it was submitted in."""

_NO_RUNS: Final = RunFilter(created_before=-LATEST)
"""Matches no run: all were accepted later."""


class SeenRuntime(Runtime):
    """The part of `runtime` that is in a view. Whoever opened that runtime drains and closes it.

    A view of one run has no sets: the run itself is followed.
    """

    def __init__(self, runtime: Runtime, view: CallerView) -> None:
        self._runtime = runtime
        self._view = view
        self._namespace = view.namespace or DEFAULT_NAMESPACE
        self._shown: BoundedCache[str, None] = BoundedCache(SHOWN_RUNS)

    @cached_property
    def readiness(self) -> Readiness:
        return self._runtime.readiness

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        return await self._runtime.put_blob(blob, self._namespace)

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        try:
            return await self._runtime.get_blob(blob_id, self._view.namespace)
        except NotFound:
            raise _no_blob(blob_id) from None

    async def peek_blob(self, blob_id: str, namespace: str | None = None) -> Blob | int:
        try:
            return await self._runtime.peek_blob(blob_id, self._view.namespace)
        except NotFound:
            raise _no_blob(blob_id) from None

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        """A run that is submitted is in the view; for a view of one run, none can be.

        It is inside the run that the caller's trace names only if the view shows that one.
        """
        if self._view.run_id is not None:
            raise PermissionDenied("a token for one run submits no others")
        if self._view.namespace not in (None, params.namespace):
            params = replace(params, owner=Owner(self._namespace))
        if self._view.labels:
            params = replace(params, labels={**params.labels, **dict(self._view.labels)})
            scope = _scope_of_view(scope, self._view)
        trace = params.observability
        if trace is not None and trace.run_id and not await self._is_shown(trace.run_id):
            params = replace(params, observability=replace(trace, run_id=None))
        submitting = self._runtime.submit(params, scope)
        del params  # Its inputs may be many.
        snapshot = await submitting
        self._shows(snapshot)
        return snapshot

    async def get(self, run_id: str) -> Snapshot:
        self._refuse_others(run_id)
        at_hand = self._runtime.is_at_hand(run_id)
        try:
            snapshot = await self._runtime.get(run_id)
        except NotFound:
            raise _no_run(run_id) from None
        return await self._seen(snapshot, at_hand=at_hand)

    async def get_since(self, run_id: str, revision: int) -> Snapshot | None:
        self._refuse_others(run_id)
        at_hand = self._runtime.is_at_hand(run_id)
        try:
            snapshot = await self._runtime.get_since(run_id, revision)
        except NotFound:
            raise _no_run(run_id) from None
        if snapshot is None:
            # Whether there is a state is told of runs that are shown.
            await self._check(run_id)
            return None
        return await self._seen(snapshot, at_hand=at_hand)

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        self._refuse_others(run_id)
        at_hand = self._runtime.is_at_hand(run_id)
        try:
            async with aclosing(self._runtime.watch(run_id)) as changes:
                async for snapshot in changes:
                    yield await self._seen(snapshot, at_hand=at_hand)
        except NotFound:
            raise _no_run(run_id) from None

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        await self._check(run_id)
        try:
            return await self._runtime.results(run_id, page)
        except RunNotFound:
            raise _no_run(run_id) from None

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        await self._check(run_id)
        try:
            return await self._runtime.cancel(run_id, reason, until)
        except RunNotFound:
            raise _no_run(run_id) from None

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        await self._check(run_id)
        try:
            await self._runtime.delete(run_id, cancel=cancel)
        except RunNotFound:
            raise _no_run(run_id) from None

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        await self._check(run_id)
        try:
            return await self._runtime.items(run_id, states, start, limit, with_inputs=with_inputs)
        except RunNotFound:
            raise _no_run(run_id) from None

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        if self._view.run_id is not None:
            if cursor:
                raise InvalidParams.field("page_token", description="not a token of this server")
            return RunPage([run.status for run in await self._only(wanted)], "")
        seen = narrowed(wanted, self._view)
        return RunPage([], "") if seen is None else await self._runtime.list_runs(seen, order, cursor, limit)

    async def count_runs(self, wanted: RunFilter) -> int:
        if self._view.run_id is not None:
            return len(await self._only(wanted))
        seen = narrowed(wanted, self._view)
        return 0 if seen is None else await self._runtime.count_runs(seen)

    def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        if self._view.run_id is not None:
            raise Unsupported("a token for one run follows this run, not sets of runs")
        seen = narrowed(wanted, self._view) or narrowed(_NO_RUNS, self._view)
        assert seen is not None, "a filter without labels can be narrowed to any view"
        return self._runtime.watch_set(seen, position, only_new=only_new)

    async def drain(self) -> None:
        """Nothing: the runtime is drained itself."""

    async def close(self) -> None:
        """Nothing: the runtime is closed itself."""

    def _refuse_others(self, run_id: str) -> None:
        """Raise RunNotFound without looking if the view is of another run."""
        if self._view.run_id not in (None, run_id):
            raise _no_run(run_id)

    async def _check(self, run_id: str) -> None:
        """Raise RunNotFound if the run is hidden, or does not exist."""
        if run_id not in self._shown:
            await self.get(run_id)

    async def _is_shown(self, run_id: str) -> bool:
        """Whether there is such a run in the view."""
        canonical = canonical_run_id(run_id)
        if canonical is None:
            return False
        if canonical in self._shown:
            return True
        at_hand = self._runtime.is_at_hand(canonical)
        try:
            await self._seen(await self._runtime.get_known(canonical), at_hand=at_hand)
        except NotFound:
            return False
        return True

    async def _seen(self, snapshot: Snapshot, *, at_hand: bool) -> Snapshot:
        """The snapshot, if it is shown. Raises RunNotFound, as late as for a run that does not exist."""
        run_id = snapshot.status.run_id
        if self._shows(snapshot):
            return snapshot
        if at_hand:
            # One that does not exist would have been looked for.
            with suppress(NotFound):
                await self._runtime.get(_another_id(run_id))
        raise _no_run(run_id)

    def _shows(self, snapshot: Snapshot) -> bool:
        run = snapshot.status
        if run.run_id in self._shown:
            return True
        if not self._view.shows(run):
            return False
        self._shown.put(run.run_id, None)
        return True

    async def _only(self, wanted: RunFilter) -> list[Snapshot]:
        """The run of a view of one run, if it exists and matches."""
        assert self._view.run_id is not None
        try:
            snapshot = await self.get(self._view.run_id)
        except RunNotFound:
            return []
        return [snapshot] if wanted.matches(snapshot.status) else []


def _scope_of_view(scope: str, view: CallerView) -> str:
    """The scope of idempotency keys of callers with these labels: whether others have used a key is not told to them.

    The scope of a task stays, since it names a run, whose labels are those of the view.
    """
    if canonical_run_id(scope.partition("/")[0]) is not None:
        return scope
    return msgspec.json.encode([sorted(view.labels), scope]).decode()


def _another_id(run_id: str) -> str:
    """An id that no run has."""
    return run_id[:-1] + ("1" if run_id.endswith("0") else "0")


def _no_run(run_id: str) -> RunNotFound:
    return RunNotFound(f"no run has the id '{run_id}'")


def _no_blob(blob_id: str) -> BlobNotFound:
    return BlobNotFound(f"no blob has the id '{blob_id}'")
