"""The runs that tasks are of: what is asked for by a task concerns the run that its scope names."""

from collections.abc import Awaitable, Callable

from gateway.core.errors import RunNotFound
from gateway.core.owner import Owner
from gateway.flows.nesting import Ancestry, Nesting, ParentTask
from gateway.flows.run_owners import owner_from_json
from gateway.runtimes.embedded.ancestors import refuse_cancelled
from gateway.runtimes.embedded.ended_run import EndedRun
from gateway.runtimes.embedded.family_tree import FamilyTree
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.runs_in_memory import RunsInMemory


class TaskRuns:
    """Finds the runs of tasks. `find` brings a run into memory."""

    def __init__(
        self, table: RunsInMemory, tree: FamilyTree, nesting: Nesting, find: Callable[[str], Awaitable[Run | EndedRun]]
    ) -> None:
        self._table = table
        self._tree = tree
        self._nesting = nesting
        self._find = find

    async def ancestry(self, parent: ParentTask, namespace: str) -> Ancestry | None:
        """Where a run of a namespace belongs that a task submits; None if the run of the task is not known.

        One of another namespace is not known: it is not even brought into memory. Raises NestedTooDeeply.
        """
        known = await self._table.known(parent.run_id)
        if known is None or known.record.namespace != namespace:
            return None
        try:
            record = (await self._find(parent.run_id)).record
        except RunNotFound:
            return None
        depth = record.depth + parent.loops + 1
        self._nesting.refuse_deeper(depth, parent.name)
        return Ancestry(record.root_id or record.run_id, record.run_id, depth, parent.name)

    def owner_of(self, scope: str) -> Owner | None:
        """The owner of the run of the task `scope`, which is in memory while it executes; None is nobody.

        Raises RunNotFound if there is no such run in memory: then it is not known for whom the task asks.
        """
        run = self._table.get(run_id := scope.partition("/")[0])
        if run is None:
            raise RunNotFound(f"no run has the id '{run_id}'")
        return None if run.record.owner is None else owner_from_json(run.record.owner)

    def refuse_cancelled(self, scope: str) -> None:
        """Raise ParentCancelled if the run of the task `scope`, or one that it is inside, is cancelled."""
        if (relative := self._tree.get(scope.partition("/")[0])) is not None:
            refuse_cancelled(relative, scope)
