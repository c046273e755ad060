"""Runs of an engine: submitting them, reading their states and their results.

An engine returns no result before all items have ended, and then all of them in one answer. The results of the runs
that were read last are kept, so that a page of results does not cost as much as all of them.
"""

from typing import Final

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.errors import RunNotFound
from gateway.core.model import ItemResult, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.core.runtime import Page, fill_page, text_size
from gateway.runtimes.stepflow.engine import EngineRequest, EngineRestClient
from gateway.runtimes.stepflow.engine_errors import answer_error, submit_error
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.results import Results, results_from_json
from gateway.runtimes.stepflow.run_bodies import EngineRun, StoredRun, run_from_json, run_request, runs_from_json

READ_SECONDS: Final = 30.0
"""How long the engine may take for a state, or for results."""

SUBMIT_SECONDS: Final = 60.0
"""How long it may take to accept a run."""

RECENT_RUNS: Final = 256
RECENT_BYTES: Final = 64 << 20
"""For how many runs results are kept, and how large they may be together. The latest are kept whatever their size."""


class Runs:
    """The runs of an engine of this release."""

    def __init__(self, engine: EngineRestClient, release: Release) -> None:
        self._engine = engine
        self._wire_format = release.wire_format
        self._recent: BoundedCache[str, Results] = BoundedCache(RECENT_RUNS, RECENT_BYTES)

    async def submit(self, params: SubmitParams) -> RunStatus:
        """Submit a run. It may be over already if the parameters say that the caller waits for it.

        It is never sent twice. Raises AnswerLost if it is unknown whether the engine has accepted the run.
        """
        # To wait for no time costs nothing, and runs without components come back ended, with their results.
        body = run_request(params, peek=params.wait)
        request = EngineRequest("POST", "/runs", SUBMIT_SECONDS, repeatable=False, body=body)
        answer = await self._engine.request(request)
        if answer.status not in (200, 202):
            raise submit_error(answer.status, answer.body, params.flow_id)
        return self._learn(run_from_json(answer.body, self._wire_format))

    async def read(self, run_id: str, seconds: int = 0) -> RunStatus:
        """Return the state of a run. The engine holds it back for so many seconds, or until the run is over.

        Raises RunNotFound if the engine does not know the run.
        """
        path = f"/runs/{run_id}"
        if seconds:
            path += f"?wait=true&timeoutSecs={seconds}"
        request = EngineRequest("GET", path, READ_SECONDS + seconds, repeatable=True, waits=seconds > 0)
        answer = await self._engine.request(request)
        if answer.status == 404:
            raise RunNotFound(f"no run has the id '{run_id}'")
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        return self._learn(run_from_json(answer.body, self._wire_format))

    async def latest(self, count: int) -> list[StoredRun]:
        """Return the runs that were submitted last, by any client of the engine."""
        path = f"/runs?limit={count}"
        answer = await self._engine.request(EngineRequest("GET", path, READ_SECONDS, repeatable=True))
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        return runs_from_json(answer.body)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        """Return results of a run as `Runtime.results` does. A run that is not over has none."""
        results = self._recent.use(run_id)
        if results is None:
            results = await self._read_results(run_id)
        return [] if results is None else _of_page(results, page)

    async def _read_results(self, run_id: str) -> Results | None:
        run = await self.read(run_id)
        if not run.status.terminal:
            return None
        request = EngineRequest("GET", f"/runs/{run_id}/items", READ_SECONDS, repeatable=True)
        answer = await self._engine.request(request)
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        results = results_from_json(answer.body, run, self._wire_format)
        self._remember(run, results)
        return results

    def _learn(self, run: EngineRun) -> RunStatus:
        if run.results is not None:
            self._remember(run.status, run.results)
        return run.status

    def _remember(self, run: RunStatus, results: Results) -> None:
        """Keep the results of a run. Those of a cancelled run may still change, as its items may go on."""
        if run.status is not RunState.CANCELLED:
            self._recent.put(run.run_id, results, results.size)


def _of_page(results: Results, page: Page) -> list[ItemResult]:
    if page.order is ResultOrder.BY_COMPLETION:
        completed = results.completion_order[page.first : page.completions]
        indexes = (index for index in completed if page.start <= index < page.stop)
    else:
        stop = min(page.stop, len(results))
        indexes = (
            index
            for index in range(page.start, stop)
            if not page.first or page.first <= results.completion_offsets[index] < page.completions
        )
    return fill_page((results[index] for index in indexes), text_size)
