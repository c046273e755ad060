"""The Stepflow runtime: an engine of one of the releases 0.10 to 0.13 as a runtime.

The id of a run is the engine's.
"""

from collections.abc import AsyncGenerator, Callable, Collection
from operator import attrgetter

from gateway.adapter.stepflow_numbers import Numbers, refuse_inexact_numbers
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import InvalidParams, Unsupported, shutting_down
from gateway.core.items import ItemPage
from gateway.core.model import Blob, ItemResult, RunState, RunStatus, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetPart
from gateway.core.runtime import Page, RunPage, Runtime, Snapshot
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.runtimes.stepflow.blobs import Blobs
from gateway.runtimes.stepflow.cancels import Cancels
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.item_views import ItemViews
from gateway.runtimes.stepflow.listing import Listing
from gateway.runtimes.stepflow.progress import snapshot
from gateway.runtimes.stepflow.release import Release, release_of
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.submits import Submits
from gateway.runtimes.stepflow.watch import Watches
from gateway.storage.idempotency import Keys
from gateway.telemetry.run_contexts import RunContexts


class StepflowRuntime(Runtime):
    """A Stepflow engine as a runtime. `keys` is closed by the caller."""

    @classmethod
    async def open(
        cls,
        url: str,
        keys: Keys,
        *,
        lossy_numbers: bool = False,
        account: MemoryAccount | None = None,
        credentials: UpstreamCredentials = NO_CREDENTIALS,
    ) -> "StepflowRuntime":
        """Connect to the engine at `http://HOST:PORT` or `https://HOST:PORT`, with or without `stepflow+` before it.

        With `lossy_numbers`, numbers that the engine rounds are passed on; they are refused otherwise. What is held of
        parameters while they are compared draws from `account`. Raises EngineError, whose message is one line, if the
        engine cannot be reached, is of an unsupported release, or is not a Stepflow engine.
        """
        engine = EngineRestClient(url.removeprefix("stepflow+"), credentials)
        try:
            release = await release_of(engine)
        except BaseException:
            await engine.close()
            raise
        return cls(engine, release, keys, lossy_numbers=lossy_numbers, account=account)

    def __init__(
        self,
        engine: EngineRestClient,
        release: Release,
        keys: Keys,
        *,
        lossy_numbers: bool = False,
        account: MemoryAccount | None = None,
    ) -> None:
        self.release = release
        self.readiness = keys.readiness
        self.readiness.upstream_is_away = engine.is_away
        self._engine = engine
        self._numbers = Numbers.ROUNDED if lossy_numbers else release.wire_format.numbers
        self._blobs = Blobs(engine, release, lossy_numbers=lossy_numbers)
        self._runs = Runs(engine, release, keys.notes)
        self._marks = keys.marks
        self._submits = Submits(self._runs, self._blobs, keys, (account or MemoryAccount()).share("submits"))
        self._watches = Watches(engine, self._runs.read, has_streams=release.has_events)
        self._cancels = Cancels(self._runs, release.wire_format, self._tell_end)
        self._on_cancelled: Callable[[str], None] | None = None
        self._listing = Listing(self._runs)
        self._items = ItemViews(self._runs, release.wire_format)
        self._draining = False
        self.run_contexts: RunContexts | None = None
        """What is told in which context a run is submitted, for what executes its tasks."""

    def on_cancelled(self, stop: Callable[[str], None]) -> None:
        """Call `stop` with the id of each run that is cancelled here, for what executes its tasks."""
        self._on_cancelled = stop

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        self._refuse_if_draining()
        blob_id = await self._blobs.put(blob)
        await self._marks.put(blob_id, namespace)
        return blob_id

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        if not await self._marks.has(blob_id, namespace):
            raise await self._blobs.missing(blob_id, as_others=namespace == DEFAULT_NAMESPACE)
        return await self._blobs.get(blob_id)

    async def owner_of_run(self, run_id: str) -> Owner | None:
        return await self._runs.told.owner(await self._runs.read(run_id))

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        """Submit a run. If the caller waits for a run without components, the answer shows its end already."""
        self._refuse_if_draining()
        self._check(params)
        submitting = self._submits.submit(params, scope)
        if self.run_contexts is not None:
            submitting = self.run_contexts.submitted(submitting, attrgetter("run_id"))
        return snapshot(await submitting)

    async def get(self, run_id: str) -> Snapshot:
        return snapshot(await self._runs.read(run_id))

    async def get_since(self, run_id: str, revision: int) -> Snapshot | None:
        current = await self.get(run_id)
        return current if current.revision >= revision else await self._watches.state_since(run_id, revision)

    def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        return self._watches.watch(run_id)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        return await self._runs.results(run_id, page)

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        """The engine goes on with what executes, and does not tell when that ends: nothing is waited for."""
        return snapshot(await self._cancels.cancel(run_id, reason))

    def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        raise Unsupported("the engine of this gateway tells of no changes of runs that are not asked for by their ids")

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        raise Unsupported("the engine of this gateway deletes no runs")

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        return await self._listing.page(wanted, order, cursor, limit)

    async def count_runs(self, wanted: RunFilter) -> int:
        return await self._listing.count(wanted)

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        return await self._items.page(run_id, states, start, limit, with_inputs=with_inputs)

    async def drain(self) -> None:
        self._draining = True
        self._watches.drain()

    async def close(self) -> None:
        """Release everything. The engine goes on with its runs."""
        await self.drain()
        await self._submits.close()
        await self._engine.close()

    def _tell_end(self, status: RunStatus) -> None:
        self._watches.tell(status)
        if self._on_cancelled is not None and status.status is RunState.CANCELLED:
            self._on_cancelled(status.run_id)

    def _check(self, params: SubmitParams) -> None:
        """Raises InvalidParams if the engine would change the parameters, or break the connection off.

        Raises Unsupported if it cannot do what they ask for.
        """
        if params.execution_timeout is not None:
            raise Unsupported("the engine of this gateway bounds no runs in time: execution_timeout cannot be set")
        if not params.inputs and not self.release.takes_empty_runs:
            raise InvalidParams.field(
                "inputs", description=f"release {self.release.name} of the engine takes no empty runs"
            )
        numbers = self._numbers
        for index, text in enumerate(params.inputs):
            refuse_inexact_numbers(text, numbers, "inputs", index)
        for name, text in params.variables.items():
            refuse_inexact_numbers(text, numbers, "variables", name)
        if params.overrides is not None:
            refuse_inexact_numbers(params.overrides, numbers, "overrides")

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise shutting_down()
