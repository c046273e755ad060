"""The runs of which this gateway executes items now: components that call back are told apart by them."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.core.errors import ParentCancelled, RunNotFound
from gateway.core.owner import Owner
from gateway.flows.item_work import FamilyWork, SharedWork
from gateway.flows.run_owners import owner_from_json
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.flow_paces import FlowPaces


class ExecutingRun:
    """A run, and what its items take together with those of its family."""

    __slots__ = ("cancelled", "chunks", "record")

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.chunks = 0
        self.cancelled = False
        """Whether one of its items has been cancelled here, so that it may submit nothing more."""


class ExecutingRuns:
    """All that executes here. Its items share `shared`."""

    def __init__(self, shared: SharedWork) -> None:
        self.shared = shared
        self.paces = FlowPaces()
        self._runs: dict[str, ExecutingRun] = {}
        self._families: dict[str, FamilyWork] = {}

    def get(self, run_id: str) -> RunRecord | None:
        """The run with this id; None if none of its items executes here."""
        run = self._runs.get(run_id)
        return None if run is None else run.record

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
            family.runs -= 1
            if not family.runs:
                del self._families[root_id]

    def owner_of(self, scope: str) -> Owner | None:
        """The owner of the run of the task `scope`; None is nobody. Raises RunNotFound if it does not execute here."""
        record = self.get(run_id := scope.partition("/")[0])
        if record is None:
            raise RunNotFound(f"no run has the id '{run_id}'")
        return None if record.owner is None else owner_from_json(record.owner)

    def refuse_cancelled(self, scope: str) -> None:
        """Raise ParentCancelled if the run of the task `scope` is cancelled."""
        run = self._runs.get(run_id := scope.partition("/")[0])
        if run is not None and run.cancelled:
            raise ParentCancelled(f"the run {run_id} is cancelled")
