"""Runs of an engine: submitting them, reading their states and their results, and cancelling them.

An engine returns no result before all items have ended, and then all of them in one answer. The results of the runs
that were read last are kept, so that a page of results does not cost as much as all of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import GatewayError, RemoteError, RunNotFound
from gateway.core.model import ItemResult, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.core.runtime import Page, fill_page, text_size
from gateway.runtimes.stepflow.engine import EngineRequest, EngineRestClient
from gateway.runtimes.stepflow.engine_errors import answer_error, submit_error
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.results import Results, cancelled_results, results_from_json
from gateway.runtimes.stepflow.run_bodies import EngineRun, run_from_json, run_request, runs_from_json
from gateway.runtimes.stepflow.told_runs import ToldRuns, is_settled
from gateway.storage.run_notes import MemoryNotes, RunNotes, SubmitNote

READ_SECONDS: Final = 30.0
"""How long the engine may take for a state, or for results."""

SUBMIT_SECONDS: Final = 60.0
"""How long it may take to accept a run."""

SETTLING_PAUSES: Final = (0.01, 0.02, 0.04, 0.08)
"""Seconds before each further look at a run that has just ended, while its counts and its time follow its state."""

RECENT_RUNS: Final = 256
RECENT_BYTES: Final = 64 << 20
"""For how many runs results are kept, and how large they may be together. The latest are kept whatever their size."""

_FINISHED: Final = frozenset({RunState.SUCCESS, RunState.FAILED})
"""The ends that runs reach by themselves."""


class Runs:
    """The runs of an engine of this release. What the engine does not keep of them is in `notes`."""

    def __init__(self, engine: EngineRestClient, release: Release, notes: RunNotes | None = None) -> None:
        self._engine = engine
        self._wire_format = release.wire_format
        self.told = ToldRuns(notes or MemoryNotes())
        self._recent: BoundedCache[str, Results] = BoundedCache(RECENT_RUNS, RECENT_BYTES)

    async def submit(self, params: SubmitParams, note: SubmitNote | None = None) -> RunStatus:
        """Submit a run. It may be over already if the parameters say that the caller waits for it.

        `note` is kept before this returns. A run is never sent twice. Raises AnswerLost if it is unknown whether the
        engine has accepted the run.
        """
        # To wait for no time costs nothing, and runs without components come back ended, with their results.
        body = run_request(params, peek=params.wait)
        request = EngineRequest("POST", "/runs", SUBMIT_SECONDS, repeatable=False, body=body)
        with self.told.submitting(params.flow_id, note):
            answer = await self._engine.request(request)
            if answer.status not in (200, 202):
                raise submit_error(answer.status, answer.body, params.flow_id)
            run = run_from_json(answer.body, self._wire_format)
            if note is None:
                self.told.notes.begun(run.status.run_id)
            else:
                await self.told.notes.submitted(run.status.run_id, note)
        return await self._learn(run)

    async def read(self, run_id: str, seconds: int = 0) -> RunStatus:
        """Return the state of a run. The engine holds it back for so many seconds, or until the run is over.

        Raises RunNotFound if the engine does not know the run.
        """
        return await self._learn(await self._shown(run_id, seconds))

    async def cancel(
        self, run_id: str, reason: str | None, inside: Callable[[], Awaitable[None]] | None = None
    ) -> RunStatus:
        """Cancel a run, unless it has ended, and return its end, which is durable if the gateway has a state.

        `inside` cancels the runs inside it, while nobody is told yet that this one is cancelled. The engine goes on
        with what executes. Raises RunNotFound if the engine does not know the run.
        """
        status = await self.read(run_id)
        if status.status.terminal:
            return status
        async with self.told.cancelling(run_id):
            # Before the runs inside: what waits for these goes on when they end, and this run could end by that.
            shown = await self._cancelled(run_id)
            if inside is not None:
                await inside()
            return await self.told.ended(_end(status, shown, reason))

    async def latest(self, count: int) -> list[RunStatus]:
        """Return the runs that were submitted last, by any client of the engine, as the engine shows them."""
        return await self.listed(f"limit={count}")

    async def listed(self, query: str) -> list[RunStatus]:
        """Return what the engine lists for the query of a URL."""
        pace, runs = TimeSlice(), []
        for run in runs_from_json(await self.fetched(f"/runs?{query}")):
            runs.append(run)
            await pace.checkpoint()
        return runs

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        """Return results of a run as `Runtime.results` does. A run that is not over has none."""
        results = self._recent.use(run_id)
        if results is None:
            results = await self.all_results(await self.read(run_id))
        return [] if results is None else _of_page(results, page)

    async def fetched(self, path: str) -> bytes:
        """Return what the engine answers for a path."""
        answer = await self._engine.request(EngineRequest("GET", path, READ_SECONDS, repeatable=True))
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        return answer.body

    async def all_results(self, run: RunStatus) -> Results | None:
        """Return the results of a run; None if it is not over."""
        if not run.status.terminal:
            return None
        if (results := self._recent.use(run.run_id)) is not None:
            return results
        if has_no_results(run):
            results = cancelled_results(run, self._wire_format)
            self._recent.put(run.run_id, results, results.size)
            return results
        results = await self._fetched_results(run)
        self._remember(run, results)
        return results

    async def _fetched_results(self, run: RunStatus) -> Results:
        """The results of a run that has ended, which an engine may have a moment later. Raises RemoteError if not."""
        path = f"/runs/{run.run_id}/items"
        for pause in SETTLING_PAUSES:
            body = await self.fetched(path)
            try:
                return results_from_json(body, run, self._wire_format)
            except RemoteError:
                await asyncio.sleep(pause)
        return results_from_json(await self.fetched(path), run, self._wire_format)

    async def _shown(self, run_id: str, seconds: int = 0) -> EngineRun:
        """Return a run as the engine shows it."""
        path = f"/runs/{run_id}"
        if seconds:
            path += f"?wait=true&timeoutSecs={seconds}"
        request = EngineRequest("GET", path, READ_SECONDS + seconds, repeatable=True, waits=seconds > 0)
        answer = await self._engine.request(request)
        if answer.status == 404:
            raise _run_not_found(run_id)
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        return run_from_json(answer.body, self._wire_format)

    async def _settled(self, run: EngineRun) -> EngineRun:
        """Return a run that has ended by itself as it stays, or as it is shown after some looks."""
        for pause in SETTLING_PAUSES:
            status = run.status
            if status.status not in _FINISHED or status.extensions or is_settled(status):
                break
            await asyncio.sleep(pause)
            try:
                run = await self._shown(status.run_id)
            except GatewayError:
                break  # That it has ended is known. A submit that failed now would be made again.
        return run

    async def _cancelled(self, run_id: str) -> RunStatus:
        """Cancel a run at the engine, and return what the engine shows of it."""
        request = EngineRequest("POST", f"/runs/{run_id}/cancel", READ_SECONDS, repeatable=True, body=b"{}")
        answer = await self._engine.request(request)
        if answer.status == 404:
            raise _run_not_found(run_id)
        if answer.status == 409:  # It has ended meanwhile, and this release says so.
            return (await self._shown(run_id)).status
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        return run_from_json(answer.body, self._wire_format).status

    async def _learn(self, run: EngineRun) -> RunStatus:
        run = await self._settled(run)
        status = await self.told.told(run.status)
        if run.results is not None:
            self._remember(status, run.results)
        return status

    def _remember(self, run: RunStatus, results: Results) -> None:
        """Keep the results of a run. Those of a cancelled run may still change, as its items may go on."""
        if run.status is not RunState.CANCELLED:
            self._recent.put(run.run_id, results, results.size)


def has_no_results(run: RunStatus) -> bool:
    """Whether a run was cancelled before any of its items had ended, whatever the engine shows of them later."""
    return run.status is RunState.CANCELLED and not (run.items.success or run.items.failed)


def _end(before: RunStatus, shown: RunStatus, reason: str | None) -> RunStatus:
    """The end of a run that has been cancelled, and was like `before` until then."""
    state = RunState.CANCELLED
    if not shown.items.cancelled:
        # All items had ended, and the engine says all the same that the run is cancelled now.
        state, reason = RunState.FAILED if shown.items.failed else RunState.SUCCESS, None
    return replace(before, status=state, items=shown.items, completed_at=shown.completed_at, cancel_reason=reason)


def _run_not_found(run_id: str) -> RunNotFound:
    return RunNotFound(f"no run has the id '{run_id}'")


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
