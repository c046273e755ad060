"""A runtime as what executes sees it: it waits while the engine or the storage is away.

A component that is told so fails, and its item with it: none knows that it may ask again. So there is no limit to the
waiting but the end of the execution: time-outs, cancels, and a gateway that stops and leaves its items to others.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from functools import cached_property
from typing import Final, TypeVar

from gateway.core.backoff import Backoff
from gateway.core.errors import GatewayError, Overloaded, Unavailable
from gateway.core.internal_errors import release_frames
from gateway.core.items import ItemPage
from gateway.core.model import Blob, ItemResult, RunState, SubmitParams
from gateway.core.once_keys import with_key
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.readiness import Readiness
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetPart
from gateway.core.runtime import Page, RunPage, Runtime, Snapshot
from gateway.core.time_away import TimeAway, passes

_T = TypeVar("_T")

FIRST_PAUSE: Final = 0.5
LAST_PAUSE: Final = 4.0
"""Seconds until the first attempt after one that has failed, and until any later one at most, before jitter of a half.
"""

FULL_SECONDS: Final = 300.0
"""How long there may be no room for something: it may be too much itself, and would wait for ever."""


class PatientRuntime(Runtime):
    """What executes asks `runtime` through this. Whoever opened that runtime drains and closes it.

    A submit that is repeated makes one run. Errors other than that something is away, or full, are raised.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @cached_property
    def readiness(self) -> Readiness:
        return self._runtime.readiness

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        return await _answered(lambda: self._runtime.put_blob(blob, namespace))

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        return await _answered(lambda: self._runtime.get_blob(blob_id, namespace))

    async def peek_blob(self, blob_id: str, namespace: str | None = None) -> Blob | int:
        return await _answered(lambda: self._runtime.peek_blob(blob_id, namespace))

    async def owner_of_run(self, run_id: str) -> Owner | None:
        return await _answered(lambda: self._runtime.owner_of_run(run_id))

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        keyed = with_key(params)
        del params
        return await _answered(lambda: self._runtime.submit(keyed, scope))

    async def get(self, run_id: str) -> Snapshot:
        return await _answered(lambda: self._runtime.get(run_id))

    async def get_known(self, run_id: str) -> Snapshot:
        return await _answered(lambda: self._runtime.get_known(run_id))

    def is_at_hand(self, run_id: str) -> bool:
        return self._runtime.is_at_hand(run_id)

    async def get_since(self, run_id: str, revision: int) -> Snapshot | None:
        return await _answered(lambda: self._runtime.get_since(run_id, revision))

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        failures, revision = _Failures(), -1
        while True:
            try:
                async with aclosing(self._runtime.watch(run_id)) as changes:
                    async for snapshot in changes:
                        if snapshot.revision > revision:
                            failures, revision = _Failures(), snapshot.revision
                        yield snapshot
                return
            except (Unavailable, Overloaded) as error:
                pause = failures.pause_after(error)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        return await _answered(lambda: self._runtime.results(run_id, page))

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        return await _answered(lambda: self._runtime.cancel(run_id, reason, until))

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        await _answered(lambda: self._runtime.delete(run_id, cancel=cancel))

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        return await _answered(lambda: self._runtime.items(run_id, states, start, limit, with_inputs=with_inputs))

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        return await _answered(lambda: self._runtime.list_runs(wanted, order, cursor, limit))

    async def count_runs(self, wanted: RunFilter) -> int:
        return await _answered(lambda: self._runtime.count_runs(wanted))

    def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        """As `runtime` does: nothing that executes follows sets."""
        return self._runtime.watch_set(wanted, position, only_new=only_new)

    def stored_bytes(self, namespace: str) -> int | None:
        return self._runtime.stored_bytes(namespace)

    async def drain(self) -> None:
        """Nothing: the runtime is drained itself."""

    async def close(self) -> None:
        """Nothing: the runtime is closed itself."""


class _Failures:
    """How long to wait after failures, one after the other."""

    __slots__ = ("_backoff", "_full")

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_PAUSE, LAST_PAUSE, jitter=0.5)
        self._full = TimeAway(FULL_SECONDS)

    def pause_after(self, error: GatewayError) -> float | None:
        """How many seconds to wait before the next attempt; None if there is to be none."""
        if not passes(error) or (isinstance(error, Overloaded) and not self._full.failure()):
            return None
        release_frames(error)
        return max(self._backoff.next(), min(error.retry_after or 0.0, LAST_PAUSE))


async def _answered(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """What `attempt` returns, when what it needs is there."""
    failures: _Failures | None = None
    while True:
        try:
            return await attempt()
        except (Unavailable, Overloaded) as error:
            failures = failures or _Failures()
            pause = failures.pause_after(error)
            if pause is None:
                raise
        await asyncio.sleep(pause)
