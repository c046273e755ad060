"""The Stepflow runtime: an engine of one of the releases 0.10 to 0.13 as a runtime.

The id of a run is the engine's.
"""

from collections.abc import AsyncGenerator

from gateway.adapter.stepflow_numbers import Numbers, refuse_inexact_numbers
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import InvalidParams, shutting_down
from gateway.core.model import Blob, ItemResult, SubmitParams
from gateway.core.runtime import Page, Runtime, Snapshot
from gateway.runtimes.stepflow.blobs import Blobs
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.progress import snapshot
from gateway.runtimes.stepflow.release import Release, release_of
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.submits import Submits
from gateway.runtimes.stepflow.watch import Watches
from gateway.storage.idempotency import Keys


class StepflowRuntime(Runtime):
    """A Stepflow engine as a runtime. `keys` is closed by the caller."""

    @classmethod
    async def open(
        cls, url: str, keys: Keys, *, lossy_numbers: bool = False, account: MemoryAccount | None = None
    ) -> "StepflowRuntime":
        """Connect to the engine at `http://HOST:PORT` or `https://HOST:PORT`, with or without `stepflow+` before it.

        With `lossy_numbers`, numbers that the engine rounds are passed on; they are refused otherwise. What is held of
        parameters while they are compared draws from `account`. Raises EngineError, whose message is one line, if the
        engine cannot be reached, is of an unsupported release, or is not a Stepflow engine.
        """
        engine = EngineRestClient(url.removeprefix("stepflow+"))
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
        self._engine = engine
        self._numbers = Numbers.ROUNDED if lossy_numbers else release.wire_format.numbers
        self._blobs = Blobs(engine, release, lossy_numbers=lossy_numbers)
        self._runs = Runs(engine, release)
        self._submits = Submits(self._runs, keys, (account or MemoryAccount()).share())
        self._watches = Watches(engine, self._runs.read, has_streams=release.has_events)
        self._draining = False

    async def put_blob(self, blob: Blob) -> str:
        self._refuse_if_draining()
        return await self._blobs.put(blob)

    async def get_blob(self, blob_id: str) -> Blob:
        return await self._blobs.get(blob_id)

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        """Submit a run. If the caller waits for a run without components, the answer shows its end already."""
        self._refuse_if_draining()
        self._check(params)
        return snapshot(await self._submits.submit(params, scope))

    async def get(self, run_id: str) -> Snapshot:
        return snapshot(await self._runs.read(run_id))

    async def get_since(self, run_id: str, revision: int) -> Snapshot | None:
        current = await self.get(run_id)
        return current if current.revision >= revision else await self._watches.state_since(run_id, revision)

    def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        return self._watches.watch(run_id)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        return await self._runs.results(run_id, page)

    async def drain(self) -> None:
        self._draining = True
        self._watches.drain()

    async def close(self) -> None:
        """Release everything. The engine goes on with its runs."""
        await self.drain()
        await self._submits.close()
        await self._engine.close()

    def _check(self, params: SubmitParams) -> None:
        """Raises InvalidParams if the engine would change the parameters, or break the connection off."""
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
