"""The runs of which this gateway executes items now: components that call back are told apart by them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.errors import ParentCancelled, RunNotFound
from gateway.core.owner import Owner
from gateway.flows.item_work import FamilyWork, SharedWork
from gateway.flows.run_owners import owner_from_json
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.flow_paces import FlowPaces

LATE: Final = 10_000
"""Of how many runs it stays known that they were cancelled here: their components may still ask for something."""


class ExecutingRun:
    """A run of which items execute here."""

    __slots__ = ("cancelled", "chunks", "nested", "record", "tasks")

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.chunks = 0
        self.cancelled = False
        """Whether one of its items has been cancelled here, so that it may submit nothing more."""
        self.nested = False
        """Whether its items may have submitted runs."""
        self.tasks: set[asyncio.Task[object]] = set()
        """What executes its items now."""

    @contextmanager
    def items(self) -> Iterator[None]:
        """A block in which the present task executes items: that ends when the run is cancelled."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            yield
        finally:
            self.tasks.discard(task)


class ExecutingRuns:
    """All that executes here. Its items share `shared`."""

    def __init__(self, shared: SharedWork) -> None:
        self.shared = shared
        self.paces = FlowPaces()
        self._runs: dict[str, ExecutingRun] = {}
        self._families: dict[str, FamilyWork] = {}
        self._late: BoundedCache[str, None] = BoundedCache(LATE)

    def find(self, run_id: str) -> ExecutingRun | None:
        """The run with this id; None if none of its items executes here."""
        return self._runs.get(run_id)

    def get(self, run_id: str) -> RunRecord | None:
        """The run with this id, as it was accepted; None if none of its items executes here."""
        run = self._runs.get(run_id)
        return None if run is None else run.record

    def inside(self, root_id: str) -> list[RunRecord]:
        """The runs that execute here and are inside the run `root_id`, which is inside no other."""
        return [run.record for run in self._runs.values() if run.record.root_id == root_id]

    def cancel(self, run_id: str) -> None:
        """Stop executing the items of a run here: it is cancelled."""
        run = self._runs.get(run_id)
        if run is not None:
            run.cancelled = True
            # Not a few at a time: a task that no longer executes items must not be cancelled.
            for task in run.tasks:
                task.cancel()

    @contextmanager
    def executing(self, record: RunRecord) -> Iterator[tuple[ExecutingRun, FamilyWork]]:
        """A block in which items of a run execute, and what its family takes."""
        root_id = record.root_id or record.run_id
        family = self._families.get(root_id)
        if family is None:
            family = self._families[root_id] = FamilyWork(self.shared)
        family.runs += 1
        run = self._runs.get(record.run_id)
        if run is None:
            run = self._runs[record.run_id] = ExecutingRun(record)
        run.chunks += 1
        try:
            yield run, family
        finally:
            run.chunks -= 1
            if not run.chunks:
                del self._runs[record.run_id]
                if run.cancelled:
                    self._late.put(record.run_id, None)
            family.runs -= 1
            if not family.runs:
                del self._families[root_id]

    def owner_of(self, scope: str) -> Owner | None:
        """The owner of the run of the task `scope`; None is nobody. Raises RunNotFound if it does not execute here."""
        record = self.get(run_id := scope.partition("/")[0])
        if record is None:
            raise RunNotFound(f"no run has the id '{run_id}'")
        return None if record.owner is None else owner_from_json(record.owner)

    def is_cancelled(self, run_id: str) -> bool:
        """Whether it is known here that a run is cancelled, of which items execute here, or have."""
        run = self._runs.get(run_id)
        return run_id in self._late if run is None else run.cancelled

    def refuse_cancelled(self, scope: str) -> None:
        """Raise ParentCancelled if the run of the task `scope` is cancelled."""
        if self.is_cancelled(run_id := scope.partition("/")[0]):
            raise ParentCancelled(f"the run {run_id} is cancelled")
