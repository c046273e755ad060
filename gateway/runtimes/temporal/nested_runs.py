"""Runs inside runs: where they belong, and how many there may be."""

from gateway.core.errors import RunNotFound
from gateway.flows.nesting import Ancestry, Nesting, ParentTask
from gateway.runtimes.temporal.executing_runs import ExecutingRuns
from gateway.runtimes.temporal.run_reader import RunReader


class NestedRuns:
    """Finds the parents of runs: those that execute here, and others in the engine."""

    def __init__(self, executing: ExecutingRuns, reader: RunReader, nesting: Nesting) -> None:
        self._executing = executing
        self._reader = reader
        self._nesting = nesting

    async def ancestry(self, parent: ParentTask, namespace: str) -> Ancestry | None:
        """Where a run of a namespace belongs that a task submits; None if the run of the task is not known there.

        Raises NestedTooDeeply.
        """
        record = self._executing.get(parent.run_id)
        if record is None:
            try:
                record = await self._reader.record(parent.run_id)
            except RunNotFound:
                return None
        if record.namespace != namespace:
            return None
        depth = record.depth + parent.loops + 1
        self._nesting.refuse_deeper(depth, parent.name)
        return Ancestry(record.root_id or record.run_id, record.run_id, depth, parent.name)
