"""Cancels the runs inside a run that is cancelled, however deep. One gateway does this for the outermost one.

The engine finds runs some time after they have been submitted. So it is asked again until it has found none for a
while, and by then no run of the family can submit one: each refuses that when it is cancelled.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from gateway.concurrency.some_at_once import some_at_once
from gateway.core.control import reason_inside
from gateway.core.errors import RunNotFound
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.engine import Engine
from gateway.runtimes.temporal.executing_runs import ExecutingRuns
from gateway.runtimes.temporal.messages import CancelRequest, NestedToCancel
from gateway.runtimes.temporal.run_reader import RunReader

QUIET_SECONDS: Final = 2.0
"""After so long without a run that has not ended, there is none: the engine finds runs within a second."""

MOST_SECONDS: Final = 60.0
"""How long the cancelled run waits for those inside it at most. They end without it, too."""

FIRST_LOOK: Final = 0.05
SLOWEST_LOOK: Final = 0.5
"""Seconds between two searches."""

_AT_ONCE: Final = 16
"""How many runs are told at the same time."""

_DEEP: Final = 1_000
"""How many runs one inside the other are looked at to find out whether one is inside a third."""

_log = logging.getLogger(__name__)


class NestedCancels:
    """See the module."""

    def __init__(self, engine: Engine, reader: RunReader, executing: ExecutingRuns) -> None:
        self._engine = engine
        self._reader = reader
        self._executing = executing
        reader.on_ended_outside = self.cancel_at_once

    async def cancel_at_once(self, record: RunRecord, reason: str) -> None:
        """Cancel the runs inside a run that was ended in the engine, those of them that can be found now.

        The engine cancels nothing then. Raises Unavailable.
        """
        wanted = NestedToCancel(record.run_id, record.root_id or record.run_id, reason)
        request = CancelRequest(reason_inside(record.run_id, reason), inside=True)
        for generation in _generations(await self._found(wanted), ()):
            await self._cancel_all(generation, request)

    async def cancel(self, wanted: NestedToCancel) -> None:
        """Cancel all runs inside a run, and return when they have ended. Raises Unavailable."""
        request = CancelRequest(reason_inside(wanted.run_id, wanted.reason), inside=True)
        time = asyncio.get_running_loop().time
        began = seen = time()
        told: set[str] = set()
        pace = FIRST_LOOK
        while True:
            found = await self._found(wanted)
            for generation in _generations(found, told):
                await self._cancel_all(generation, request)
            told.update(found)
            now = time()
            seen = now if found else seen
            if now - seen >= QUIET_SECONDS:
                return
            if now - began >= MOST_SECONDS:
                _log.warning("runs inside a cancelled run have not ended yet", extra={"run_id": wanted.run_id})
                return
            await asyncio.sleep(pace)
            pace = min(pace * 1.5, SLOWEST_LOOK)

    async def _found(self, wanted: NestedToCancel) -> dict[str, str | None]:
        """The runs inside a run that have not ended, and their parents, as far as is known."""
        parents = await self._engine.open_inside(wanted.root_id)
        for record in self._executing.inside(wanted.root_id):
            parents[record.run_id] = record.parent_id
        parents.pop(wanted.run_id, None)
        if wanted.run_id == wanted.root_id:
            return parents
        return {run_id: parents[run_id] for run_id in parents if await self._is_inside(run_id, wanted, parents)}

    async def _is_inside(self, run_id: str, wanted: NestedToCancel, parents: dict[str, str | None]) -> bool:
        """Whether a run is inside another one."""
        outer: str | None = run_id
        for _ in range(_DEEP):
            if outer is None or outer == wanted.root_id:
                return False
            if outer not in parents:
                try:
                    record = await self._reader.record(outer)
                except RunNotFound:
                    return False
                outer = record.parent_id
            else:
                outer = parents[outer]
            if outer == wanted.run_id:
                return True
        return False

    async def _cancel_all(self, run_ids: Iterable[str], request: CancelRequest) -> None:
        await some_at_once((partial(self._cancel_one, run_id, request) for run_id in run_ids), _AT_ONCE)

    async def _cancel_one(self, run_id: str, request: CancelRequest) -> None:
        try:
            if await self._engine.cancel(run_id, request):
                self._executing.cancel(run_id)
        except RunNotFound:
            pass


def _generations(parents: Mapping[str, str | None], told: Collection[str]) -> Iterator[set[str]]:
    """The runs that have not been told, the outer ones first: so none makes something of what those inside lose."""
    left = {run_id for run_id in parents if run_id not in told}
    while left:
        outer = {run_id for run_id in left if parents[run_id] not in left} or left
        yield outer
        left = left - outer
