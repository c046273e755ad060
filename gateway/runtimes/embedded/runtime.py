"""The embedded runtime: accepts runs, executes their items, and answers from memory or from its journal."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from functools import partial
from pathlib import Path

from gateway.components import Components
from gateway.concurrency.batches import call_in_batches
from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.single_flight import SingleFlight
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import (
    Overloaded,
    RunNotFound,
    TooManyDescendants,
    shutting_down,
)
from gateway.core.items import ItemPage
from gateway.core.json_text import members
from gateway.core.model import Blob, ItemResult, JsonText, RunState, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetPart
from gateway.core.runtime import Page, RunPage, Runtime, Snapshot, fits_page
from gateway.flows.files import Files
from gateway.flows.flow import Flow
from gateway.flows.flow_cache import DEFAULT_MAX_FLOW_BYTES, FlowCache
from gateway.flows.host import RunHost, RunsApi
from gateway.flows.item_work import DEFAULT_CONCURRENCY, DEFAULT_EXECUTING_ITEMS
from gateway.flows.nesting import Ancestry, Nesting, ParentTask, memory_of, parent_task
from gateway.flows.new_record import new_record, refuse_more_items
from gateway.flows.run_record import RunRecord
from gateway.flows.run_trace import RunTrace, with_context
from gateway.runtimes.embedded.ancestors import Ancestors
from gateway.runtimes.embedded.blob_store import BlobStore
from gateway.runtimes.embedded.cancelling import Cancelling
from gateway.runtimes.embedded.deadlines import Deadlines, is_over
from gateway.runtimes.embedded.deleting import Deleting
from gateway.runtimes.embedded.ended_run import EndedRun, ended_at_once, loaded
from gateway.runtimes.embedded.executor import Executor, run_inline
from gateway.runtimes.embedded.family_tree import FamilyTree
from gateway.runtimes.embedded.journal import Ended, Journal
from gateway.runtimes.embedded.memory_journal import MemoryJournal
from gateway.runtimes.embedded.pruning import Pruning
from gateway.runtimes.embedded.recent_runs import RecentRuns
from gateway.runtimes.embedded.resumption import Resumption, prefix_of, restore
from gateway.runtimes.embedded.retention import KEEP_ALL, Retention
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.run_counts import items_gauged, run_accepted
from gateway.runtimes.embedded.run_execution import Job
from gateway.runtimes.embedded.run_flows import RunFlows
from gateway.runtimes.embedded.run_items import read_items
from gateway.runtimes.embedded.run_lists import JournalLists
from gateway.runtimes.embedded.runs_in_memory import RunsInMemory
from gateway.runtimes.embedded.set_reader import SetReader
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from gateway.runtimes.embedded.task_runs import TaskRuns
from gateway.storage.fingerprint import fingerprint, refuse_other
from gateway.storage.idempotency import IN_MEMORY
from gateway.telemetry import tracing

ACCEPT_SECONDS = 1.0
"""How long draining waits for submits to become durable."""


class EmbeddedRuntime(Runtime):
    """Executes runs in this process. With a state file it loses nothing that it has accepted.

    Items execute at least once: an item that was executing when the process ended executes again. Each result is
    journalled exactly once, before it is visible.
    """

    @classmethod
    async def open(
        cls,
        state: str,
        components: Components,
        *,
        account: MemoryAccount | None = None,
        nesting: Nesting | None = None,
        max_flow_bytes: int = DEFAULT_MAX_FLOW_BYTES,
        max_executing_items: int = DEFAULT_EXECUTING_ITEMS,
        file_directories: Sequence[str] = (),
        run_timeout: float | None = None,
        retention: Retention = KEEP_ALL,
    ) -> "EmbeddedRuntime":
        """Open the state, a path or `:memory:`.

        The caller starts and closes `components`. What is held for clients draws from `account`. `nesting` bounds runs
        inside runs, `max_flow_bytes` flows and overrides, `max_executing_items` the items that execute at once. Flows
        load files below `file_directories` only. A run may take `run_timeout` seconds. `retention` says what is kept.
        Raises StateError if the state cannot be used.
        """
        account = account or MemoryAccount()
        journal = MemoryJournal(account) if state == IN_MEMORY else await SqliteJournal.open(Path(state))
        journal.retention = retention
        executor = Executor(journal, max_items=max_executing_items, account=account)
        flows = FlowCache(max_flow_bytes, account)
        runtime = cls(journal, components, executor, nesting or Nesting(), account=account, flows=flows)
        runtime._deadlines.run_timeout = run_timeout
        runtime._files = Files(file_directories, account)
        try:
            await runtime._resumption.look()
        except BaseException:
            await journal.close()
            raise
        return runtime

    def __init__(
        self,
        journal: Journal,
        components: Components,
        executor: Executor,
        nesting: Nesting,
        *,
        account: MemoryAccount,
        flows: FlowCache,
    ) -> None:
        self._journal, self.readiness = journal, journal.readiness
        self._components = components
        self._nesting = nesting
        self._executor = executor
        self._runs: RunsApi | None = None
        self._started = asyncio.Event()
        self._tree = FamilyTree()
        self._deadlines = Deadlines(self.cancel)
        self._table = RunsInMemory(journal, RecentRuns(account), nesting, self._tree, self._deadlines)
        self._loads = SingleFlight(self._load)
        self._ancestors = Ancestors(self._tree, self._table.known)
        self._cancelling = Cancelling(self._tree, executor, journal, self._table, find=self._find, finish=self._finish)
        self._resumption = Resumption(
            journal, nesting, self._ancestors, resume=self._find, cancel=self._cancelling.resume
        )
        self._deleting = Deleting(journal, self._table, self._find, self.cancel)
        self._lists = JournalLists(journal, self._table.active, self._find)
        self._flows = flows
        self._blobs = BlobStore(journal, flows, account)
        self._run_flows = RunFlows(journal, flows, components, self._blobs.uses)
        self._pruning = Pruning(journal, self._blobs.uses, self._deleting.delete_ended)
        self._tasks = TaskRuns(self._table, self._tree, nesting, self._find)
        self._fingerprints = account.share("fingerprints")
        self._files = Files((), account)
        self.gauged = partial(items_gauged, self._table.left, executor)
        self._draining = False

    async def start(self, runs: RunsApi) -> None:
        """Execute runs. `runs` is the runs service over this runtime; it serves nested runs."""
        self._runs = runs
        self._started.set()

    def resume(self) -> None:
        """Go on with the runs that were unfinished when the state was last closed, in the background, after `start`.

        One that somebody asks for goes on at once.
        """
        self._resumption.start()
        self._pruning.start()

    def waits_for_runs(self, scope: str) -> None:
        """Note that the component that executes the task `scope` asks for runs, and waits for them from now on."""
        self._executor.waits_for_runs(scope)

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        self._refuse_if_draining()
        return await self._blobs.put(blob, namespace)

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        return await self._blobs.get(blob_id, namespace)

    async def peek_blob(self, blob_id: str, namespace: str | None = None) -> Blob | int:
        return await self._blobs.peek(blob_id, namespace)

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        if not self._started.is_set():  # Until then, components are unknown, and nested runs are not served.
            await self._started.wait()
        self._refuse_if_draining()
        refuse_more_items(len(params.inputs))
        parent = parent_task(scope, params.observability)
        ancestry = None if parent is None else await self._ancestry(parent, params.namespace)
        flow = await self._run_flows.overridden(params.flow_id, params.overrides, params.namespace)
        if flow.steps:
            await self._run_flows.refuse_unknown_components(flow, patient=parent is not None)
        digest = ""
        if params.idempotency_key is not None:
            digest = await fingerprint(params, concurrency=DEFAULT_CONCURRENCY, share=self._fingerprints)
        record = new_record(params, scope, flow.name, ancestry, digest, run_timeout=self._deadlines.run_timeout)
        if (ended := run_inline(flow, params.variables, params.inputs, record.created_at)) is not None:
            if ancestry is not None:
                await self._ancestors.check(ancestry.parent_id, ancestry.task)
            at_once = ended_at_once(record, ended.outcome, self._journal, ended.results)
            self._table.recent.put(at_once)
            return await self._accept(at_once, flow, (), ended)
        record = with_context(record, params.observability)
        run = Run(record, epoch=self._journal.epoch, expires_at=self._journal.retention.expires_at)
        if ancestry is not None:
            run.held = memory_of(record, params.inputs)
            await self._ancestors.begin(record.run_id, ancestry.parent_id, ancestry.task)
            try:
                self._nesting.take(ancestry, record.total, run.held)
            except (TooManyDescendants, Overloaded):
                self._tree.leave(record.run_id)
                # After a restart, items that execute again find their runs, which are among the descendants.
                if record.key is None or (earlier := await self._journal.find(record.scope, record.key)) is None:
                    raise
                return await self._repeated(earlier, record.fingerprint)
        self._table.keep(run)
        # A task of its own: if the client leaves now, the durable run must execute all the same.
        self._table.accepting[record.run_id] = accepting = asyncio.create_task(self._accept(run, flow, params.inputs))
        accepting.add_done_callback(partial(self._accepted, record.run_id))
        return await asyncio.shield(accepting)

    async def get(self, run_id: str) -> Snapshot:
        return (await self._find(run_id)).snapshot()

    def is_at_hand(self, run_id: str) -> bool:
        return self._table.get(run_id) is not None

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        run = await self._find(run_id)
        while True:
            snapshot = run.snapshot()
            if snapshot.terminal and isinstance(run, Run):
                await self._deleting.settled(run)
            yield snapshot
            if snapshot.terminal or isinstance(run, EndedRun):
                return
            self._refuse_if_draining()
            await run.changed(snapshot)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        run = self._table.recent.get(run_id) or await self._find(run_id)
        recent, removals = run.recent(page), self._table.removals
        if recent is not None:
            return recent
        results = await self._journal.results(run_id, page)
        if not results and removals != self._table.removals:
            await self._find(run_id)
        return results

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        run = await self._find(run_id)
        return await read_items(self._journal, run, states, start, limit, with_inputs=with_inputs)

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        """As the interface says. Nothing of the run executes on return in any case: `until` changes nothing."""
        if not self._started.is_set():
            await self._started.wait()
        await self._resumption.counted()
        self._refuse_if_draining()
        await self._cancelling.cancel(run_id, reason)
        return await self.get(run_id)

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        self._refuse_if_draining()
        await self._deleting.delete(run_id, cancel=cancel)

    def refuse_cancelled(self, scope: str) -> None:
        """Raise ParentCancelled if the run of the task `scope`, or one that it is inside, is cancelled."""
        self._tasks.refuse_cancelled(scope)

    def owner_of(self, scope: str) -> Owner | None:
        """The owner of the run of the task `scope`; None is nobody. Raises RunNotFound if it is not in memory."""
        return self._tasks.owner_of(scope)

    def stored_bytes(self, namespace: str) -> int:
        """About how many: blobs, and the inputs and results of runs."""
        return self._journal.stored_bytes(namespace)

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        return await self._lists.page(wanted, order, cursor, limit)

    async def count_runs(self, wanted: RunFilter) -> int:
        return await self._lists.count(wanted)

    def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        return SetReader(self._journal, self._find, wanted).parts(position, only_new=only_new)

    async def drain(self) -> None:
        """Also stop executing: an item that fails because the gateway shuts down must not count as failed."""
        if self._draining:
            return
        self._draining = True
        self._started.set()
        self._journal.changes.stop()
        await self._resumption.stop()
        await self._deadlines.close()
        await self._pruning.stop()
        await self._deleting.close()
        await self._cancelling.close()
        self._journal.drain()
        if self._table.accepting:
            await asyncio.wait(self._table.accepting.values(), timeout=ACCEPT_SECONDS)
        await self._executor.stop()
        call_in_batches(run.touch for run in list(self._table.active.values()))

    async def close(self) -> None:
        await self.drain()
        await self._loads.close()
        await self._journal.close()

    async def _accept(
        self, run: Run | EndedRun, flow: Flow, inputs: Sequence[JsonText], ended: Ended | None = None
    ) -> Snapshot:
        # It is kept before it is durable: a second submit with the same key may be answered from the same commit.
        try:
            earlier = await self._journal.create(run.record, inputs, ended)
        except BaseException:
            self._table.drop(run)
            raise
        if earlier is not None:
            self._table.drop(run)
            return await self._repeated(earlier, run.record.fingerprint)
        run_accepted(None if ended is None else ended.outcome)
        if isinstance(run, Run):
            self._journal.changes.accept(run)
            # Many are read from the journal again, a page at a time, while the run executes.
            self._execute(run, flow, inputs if fits_page(inputs) else None)
        elif ended is not None and tracing.tracer is not None:
            RunTrace.of_call(run.record).executed(ended.results, run.record.created_at)
        return run.snapshot()

    def _accepted(self, run_id: str, accepting: asyncio.Task[Snapshot]) -> None:
        del self._table.accepting[run_id]
        retrieve_exception(accepting)

    def _execute(self, run: Run, flow: Flow, inputs: Sequence[JsonText] | None) -> None:
        if self._draining or run.cancelling:
            return
        record = run.record
        assert self._runs is not None
        host = RunHost(self._components, self._runs, self._nesting, self._flows, self._files, record=record)
        self._executor.start(Job(run, flow, members(record.variables), inputs, host, self._table.end))

    def _finish(self, run: Run) -> None:
        """Write the end of a cancelled run that does not execute."""
        if not self._draining:
            self._executor.finish(run, self._table.end)

    async def _ancestry(self, parent: ParentTask, namespace: str) -> Ancestry | None:
        """See `TaskRuns.ancestry`."""
        ancestry = await self._tasks.ancestry(parent, namespace)
        if ancestry is not None:
            await self._resumption.counted()
            self._refuse_if_draining()
        return ancestry

    async def _find(self, run_id: str) -> Run | EndedRun:
        run = self._table.get(run_id)
        return await self._loads.get(run_id) if run is None else run

    async def _load(self, run_id: str) -> Run | EndedRun:
        """Bring a run back into memory. If it has not ended, it goes on."""
        removals = self._table.removals
        kept = await self._journal.load(run_id)
        if kept is None:
            raise RunNotFound(f"no run has the id '{run_id}'")
        # It may have been registered while the journal was read.
        known = self._table.get(run_id)
        if known is not None:
            return known
        record, outcome = kept
        if outcome is not None:
            prefix = await prefix_of(self._journal, record, outcome)
            if removals != self._table.removals:
                return await self._load(run_id)
            ended = loaded(record, outcome, self._journal, prefix)
            self._table.keep(ended)
            return ended
        run = Run(record, epoch=self._journal.epoch, expires_at=self._journal.retention.expires_at)
        await restore(self._journal, run)
        self._journal.changes.restore(run)
        self._table.keep(run)
        flow = None if self._cancelling.awaits(run_id) else await self._run_flows.accepted(run)
        if flow is not None:
            self._resumption.when_counted(partial(self._go_on, run, flow))
        return run

    def _go_on(self, run: Run, flow: Flow) -> None:
        """Execute a run from before, unless it is to be cancelled."""
        if run.cancelling or is_over(run.record) or self._cancelling.stops(run.record.run_id):
            return
        if run.record.root_id is not None:
            run.held = self._nesting.hold(run.record.root_id, memory_of(run.record))
        self._execute(run, flow, None)

    async def _repeated(self, earlier: RunRecord, fingerprint: str) -> Snapshot:
        """The answer to a submit whose key belongs to an earlier run."""
        refuse_other(earlier.fingerprint, fingerprint)
        return await self.get(earlier.run_id)

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise shutting_down()
