"""The Temporal runtime: runs are workflows of an engine, and their items execute on any gateway beside it."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from gateway.components import Components
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import RunNotFound, Unavailable, shutting_down
from gateway.core.items import ItemPage
from gateway.core.model import Blob, ItemResult, RunState, SubmitParams
from gateway.core.once_keys import with_key
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetPart
from gateway.core.runtime import Page, RunPage, Runtime, Snapshot
from gateway.core.time_away import patiently
from gateway.flows.files import Files
from gateway.flows.flow_cache import FlowCache
from gateway.flows.host import RunsApi
from gateway.flows.item_work import DEFAULT_CONCURRENCY, DEFAULT_EXECUTING_ITEMS, SharedWork
from gateway.flows.nesting import Ancestry, Nesting, parent_task
from gateway.flows.new_record import new_record, refuse_more_items, timeout_reason
from gateway.flows.run_owners import owner_from_json
from gateway.flows.run_record import RunRecord
from gateway.flows.run_trace import with_context
from gateway.flows.task import Host
from gateway.flows.unknown_component import refuse_unknown_components
from gateway.runtimes.temporal.activities import Activities
from gateway.runtimes.temporal.chunk_execution import ChunkExecution
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.engine import Engine, NoWorker
from gateway.runtimes.temporal.engine_deletes import EngineDeletes
from gateway.runtimes.temporal.executing_runs import ExecutingRuns
from gateway.runtimes.temporal.followed_sets import FollowedSets
from gateway.runtimes.temporal.item_host import ItemHost
from gateway.runtimes.temporal.kept_inputs import KeptInputs
from gateway.runtimes.temporal.listed_runs import ListedRuns
from gateway.runtimes.temporal.nested_cancels import NestedCancels
from gateway.runtimes.temporal.nested_runs import NestedRuns
from gateway.runtimes.temporal.open_submits import OpenSubmits
from gateway.runtimes.temporal.record_limits import refuse_long_record
from gateway.runtimes.temporal.run_cancels import RunCancels
from gateway.runtimes.temporal.run_deletes import RunDeletes
from gateway.runtimes.temporal.run_items_read import ItemsReader
from gateway.runtimes.temporal.run_names import run_id_of_key
from gateway.runtimes.temporal.run_reader import RunReader
from gateway.runtimes.temporal.run_states import RunStates
from gateway.runtimes.temporal.stored_flows import StoredFlows
from gateway.runtimes.temporal.visible_runs import VisibleRuns
from gateway.runtimes.temporal.worker import EngineWorker
from gateway.storage.blob_objects import BlobObjects
from gateway.storage.fingerprint import fingerprint, refuse_other
from gateway.storage.objects import ObjectStore

NESTED_PATIENCE: Final = 60.0
"""How long a run inside another one is submitted again and again, while the engine or the storage is away."""

DELETE_SECONDS: Final = 0.1
DELETE_LOOKS: Final = 50
"""How often, and how many times, a submit looks whether the run with its key, which is deleted, is gone."""


class TemporalRuntime(Runtime):
    """Passes runs to the engine behind `connection`, and executes items for it; results and blobs are in `store`.

    The caller closes `connection`, `store` and `components`.
    """

    def __init__(
        self,
        connection: TemporalConnection,
        store: ObjectStore,
        components: Components,
        *,
        account: MemoryAccount,
        nesting: Nesting,
        flows: FlowCache,
        files: Files,
        max_executing_items: int = DEFAULT_EXECUTING_ITEMS,
        run_timeout: float | None = None,
        works: bool = True,
    ) -> None:
        self.readiness.upstream_is_away = connection.presence.is_away
        self._engine = Engine(connection)
        self._components = components
        self._nesting = nesting
        self._flow_cache = flows
        self._files = files
        self._run_timeout = run_timeout
        self._fingerprints = account.share("fingerprints")
        self._store = store
        self._blobs = BlobObjects(store, account)
        self._flows = StoredFlows(self._blobs, flows)
        self._inputs = KeptInputs(store)
        self._reader = RunReader(self._engine, store)
        self._items = ItemsReader(self._engine, self._reader, self._inputs)
        visible = VisibleRuns(connection)
        self._lists = ListedRuns(visible, self._reader.recent, RunStates(self._reader))
        self._sets = FollowedSets(visible, self._reader)
        self._executing = ExecutingRuns(SharedWork(max_executing_items, account))
        self._cancels = RunCancels(self._engine, self._reader, self._executing)
        self._deletes = RunDeletes(self._engine, EngineDeletes(connection), self._reader, self._cancels, store)
        self._nested = NestedRuns(self._engine, self._executing, self._reader, nesting)
        chunks = ChunkExecution(store, self._inputs, self._flows, self._executing, self._host, split_runs=self._engine)
        activities = Activities(chunks, store, NestedCancels(self._engine, self._reader, self._executing))
        self._worker = EngineWorker(connection, activities, self._executing.shared) if works else None
        self._runs: RunsApi | None = None
        self._submits, self._draining = OpenSubmits(), False

    async def start(self, runs: RunsApi) -> None:
        """Serve runs, and execute items. `runs` is the runs service over this runtime; it serves nested runs."""
        self._runs = runs
        if self._worker is not None:
            self._worker.start()

    def resume(self) -> None:
        """Nothing is to be resumed: the engine does."""

    def waits_for_runs(self, scope: str) -> None:
        """Note that the component that executes the task `scope` asks for runs, and waits for them from now on."""
        self._executing.shared.waits_for_runs(scope)

    def refuse_cancelled(self, scope: str) -> None:
        """Raise ParentCancelled if the run of the task `scope` is cancelled."""
        self._executing.refuse_cancelled(scope)

    def owner_of(self, scope: str) -> Owner | None:
        """The owner of the run of the task `scope`; None is nobody. Raises RunNotFound if it does not execute here."""
        return self._executing.owner_of(scope)

    async def owner_of_run(self, run_id: str) -> Owner | None:
        record = await self._reader.record(run_id)
        return None if record.owner is None else owner_from_json(record.owner)

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        # Not refused by a gateway that drains: components whose items may still end store blobs over HTTP.
        return await self._flows.put(blob, namespace)

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        return await self._blobs.get(blob_id, namespace)

    async def peek_blob(self, blob_id: str, namespace: str | None = None) -> Blob | int:
        return await self._blobs.peek(blob_id, namespace)

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        if parent_task(scope, params.observability) is None:
            with self._submits.submit():
                return await self._submit(params, scope)
        # An item that waits for a run would fail. With a key, the run is there once.
        keyed = with_key(params)
        return await patiently(lambda: self._submit(keyed, scope), NESTED_PATIENCE, lambda: not self._draining)

    async def _submit(self, params: SubmitParams, scope: str) -> Snapshot:
        self._refuse_if_draining()
        refuse_more_items(len(params.inputs))
        parent = parent_task(scope, params.observability)
        ancestry = None if parent is None else await self._nested.ancestry(parent, params.namespace, len(params.inputs))
        flow = await self._flows.overridden(params.flow_id, params.overrides, params.namespace)
        # A gateway that is only a front does not know which components there are.
        if flow.steps and self._worker is not None:
            await refuse_unknown_components(flow, self._components, patient=parent is not None)
        run_id, digest = None, ""
        if params.idempotency_key is not None:
            run_id = run_id_of_key(params.namespace, scope, params.idempotency_key)
            digest = await fingerprint(params, concurrency=DEFAULT_CONCURRENCY, share=self._fingerprints)
        record = new_record(params, scope, flow.name, ancestry, digest, run_timeout=self._run_timeout, run_id=run_id)
        record = with_context(record, params.observability)
        refuse_long_record(record)
        return await self._begin(record, params, ancestry)

    async def _begin(self, record: RunRecord, params: SubmitParams, ancestry: Ancestry | None) -> Snapshot:
        for _ in range(DELETE_LOOKS):
            start = await self._inputs.keep(record, params.inputs, self._executing.paces.of(params.flow_id))
            if record.deadline is not None:
                start = replace(start, timeout_reason=timeout_reason(record, self._run_timeout))
            if await self._engine.start(start):
                if ancestry is not None:
                    await self._nested.begun(record, ancestry)
                return self._reader.submitted(start.record)
            with suppress(Unavailable):
                await self._inputs.forget(start)
            try:
                return await self._repeated(record)
            except RunNotFound:
                # It has just been deleted: then the key makes a new run, and what it is submitted with is kept anew.
                await self._deletes.settle(record.run_id)
                await asyncio.sleep(DELETE_SECONDS)
        raise Unavailable("the run with this key is being deleted", retry_after=DELETE_SECONDS)

    async def get(self, run_id: str) -> Snapshot:
        return await self._reader.get(run_id)

    async def get_known(self, run_id: str) -> Snapshot:
        # No question: a gateway that is busy answers it late, and components ask this of the run that they execute in.
        return await self._reader.last_state(run_id)

    def is_at_hand(self, run_id: str) -> bool:
        return self._reader.known(run_id) is not None

    def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        return self._reader.watch(run_id)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        return await self._reader.results(run_id, page)

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        self._refuse_if_draining()
        return await self._cancels.cancel(run_id, reason, until)

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        return await self._items.page(run_id, states, start, limit, with_inputs=with_inputs)

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        return await self._lists.page(wanted, order, cursor, limit)

    async def count_runs(self, wanted: RunFilter) -> int:
        return await self._lists.count(wanted)

    def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        return self._sets.parts(wanted, position, only_new=only_new)

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        self._refuse_if_draining()
        await self._deletes.delete(run_id, cancel=cancel)

    async def drain(self) -> None:
        if not self._draining:
            self._draining = True
            self._reader.drain()
            self._sets.drain()
            stopping = () if self._worker is None else (self._worker.stop(),)
            await asyncio.gather(self._submits.end(), *stopping)

    async def close(self) -> None:
        await self.drain()
        await self._reader.close()

    async def _repeated(self, record: RunRecord) -> Snapshot:
        """The answer to a submit whose key belongs to an earlier run."""
        earlier = await self._reader.record_anew(record.run_id)
        refuse_other(earlier.fingerprint, record.fingerprint)
        try:
            return await self._reader.get(record.run_id)
        except NoWorker:
            # It has been accepted. How far it is, the gateway may have known that has died.
            return await self._reader.last_state(record.run_id)

    def _host(self, record: RunRecord) -> Host:
        assert self._runs is not None
        host = ItemHost(self._components, self._runs, self._nesting, self._flow_cache, self._files, record=record)
        host.store = self._store
        return host

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise shutting_down()
