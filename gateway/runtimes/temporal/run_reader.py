"""Reads runs from the engine: their states, as they change, and their results."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from itertools import islice
from typing import Final

from msgspec.structs import replace

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.single_flight import SingleFlight
from gateway.core.errors import GatewayError, Overloaded, RunNotFound, Unavailable, shutting_down
from gateway.core.model import ItemResult, Nanoseconds, ResultOrder, RunState
from gateway.core.runtime import (
    RESULT_PAGE_BYTES,
    RESULT_PAGE_LENGTH,
    Page,
    Snapshot,
    fill_page,
    text_size,
    text_sizes,
)
from gateway.core.time_away import TimeAway, patiently
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.engine import ClosedOutside, Engine, NoWorker
from gateway.runtimes.temporal.messages import RunResult
from gateway.runtimes.temporal.outside import ended_outside
from gateway.runtimes.temporal.question_pace import QuestionPace
from gateway.runtimes.temporal.read_parts import PartsReader
from gateway.runtimes.temporal.recent_here import RecentHere
from gateway.runtimes.temporal.run_view import RunView
from gateway.storage.objects import ObjectStore

FIRST_SECONDS: Final = 0.05
"""How long a run that has just been submitted is left alone: most of these have ended by then."""

FASTEST: Final = 0.02
SLOWEST: Final = 1.0
"""Seconds between two questions how far a run is: the fewest while it changes, more and more while it does not."""

SLOWER: Final = 1.5
"""How much longer the next pause is after a question whose answer was no news."""

PATIENCE: Final = 60.0
"""How many seconds followers wait for an engine, or for gateways that execute runs, that are away."""

LOOK_SECONDS: Final = 5.0
"""After so long it is looked whether a run is still there: another gateway may have deleted it."""

VIEWS: Final = 10_000
"""How many runs stay known."""

_LEARNT: Final = 4
"""How often it is asked for results that have come while others were asked for, for one look at a run."""


class RunReader:
    """Knows runs as they are in the engine. One watch of a run asks for all who follow it."""

    def __init__(self, engine: Engine, store: ObjectStore) -> None:
        self._engine = engine
        self._store = store
        self._views: BoundedCache[str, RunView] = BoundedCache(VIEWS)
        self._loads = SingleFlight(self._load)
        self.parts = PartsReader(store)
        self._draining = asyncio.Event()
        self._questions = QuestionPace()
        self.recent = RecentHere()
        self.on_ended_outside: Callable[[RunRecord, str], Awaitable[None]] | None = None
        """Called with a run that was ended in the engine, and why, when that is seen here: others may be inside it."""

    def submitted(self, record: RunRecord) -> Snapshot:
        """Note that a run has just been submitted here, and return its state."""
        view = RunView(record)
        self._views.put(record.run_id, view)
        self.recent.changed(record)
        return view.snapshot()

    def deleted(self, run_id: str, created_at: Nanoseconds) -> None:
        """Note that a run was deleted, which was accepted at this time: a key may have made another one since."""
        view = self._views.get(run_id)
        if view is not None and view.record.created_at == created_at:
            self._views.remove(run_id)
        self.recent.deleted(run_id, created_at)

    def known(self, run_id: str) -> RunView | None:
        """What this gateway knows of a run; None if nothing."""
        return self._views.get(run_id)

    async def record(self, run_id: str) -> RunRecord:
        """A run as it was accepted. Raises RunNotFound."""
        return (await self._view(run_id)).record

    async def record_anew(self, run_id: str) -> RunRecord:
        """The same, as the engine has it now."""
        return (await self._looked_for(run_id)).record

    async def get_anew(self, run_id: str) -> Snapshot:
        """The state of a run, which another gateway may just have deleted. Raises RunNotFound."""
        await self._looked_for(run_id)
        return await self.get(run_id)

    async def last_state(self, run_id: str) -> Snapshot:
        """The state of a run with which somebody has begun, as it was known here last. Raises RunNotFound."""
        snapshot = (await self._view(run_id)).snapshot()
        if snapshot.status.status is RunState.PENDING:
            return replace(snapshot, status=replace(snapshot.status, status=RunState.RUNNING))
        return snapshot

    async def get(self, run_id: str) -> Snapshot:
        """The state of a run, as the engine has it. Raises RunNotFound."""
        view = await self._view(run_id)
        if view.ended is None:
            try:
                await self._refresh(view)
            except NoWorker:
                # Nobody has begun with it: then all is known. Else somebody else may know more.
                if view.progress is not None or await self._engine.has_begun(run_id):
                    raise
        return view.snapshot()

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Yield the state, and then each later one, until the run has ended.

        While the engine, or all gateways that execute runs, are away, nothing changes. Raises Unavailable if no
        question is answered for longer than PATIENCE seconds.
        """
        view = await self._view(run_id)
        snapshot = view.snapshot()
        yield snapshot
        patience = TimeAway(PATIENCE)
        while not snapshot.terminal:
            try:
                async with aclosing(self._changes(view, patience)) as changes:
                    async for _ in changes:
                        snapshot = view.snapshot()
                        yield snapshot
            except (Unavailable, Overloaded):
                if self._draining.is_set() or not patience.failure():
                    raise
                await asyncio.sleep(SLOWEST)

    async def _changes(self, view: RunView, patience: TimeAway) -> AsyncGenerator[None, None]:
        """Yield after each change, until the run has ended. Raises Unavailable. `patience` is told of answers."""
        end = asyncio.create_task(self._wait_for_end(view))
        drained = asyncio.create_task(self._draining.wait())
        asking: asyncio.Task[bool] | None = None
        pace = FIRST_SECONDS
        self._questions.runs += 1
        try:
            while view.ended is None:
                pause = self._questions.pause(pace)
                await asyncio.wait({end, drained}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                if not end.done() and not drained.done():
                    asking = asyncio.create_task(self._ask(view, patience))
                    await asyncio.wait({end, drained, asking}, return_when=asyncio.FIRST_COMPLETED)
                if drained.done():
                    raise shutting_down()
                if end.done():
                    await end
                elif asking is None or not await asking:
                    pace = min(pace * SLOWER, SLOWEST)
                    continue
                if view.ended is None:
                    pace = FASTEST
                    yield
            # Somebody else may have asked, and have been told of the end.
            yield
        finally:
            self._questions.runs -= 1
            tasks = [task for task in (end, drained, asking) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, view: RunView, patience: TimeAway) -> bool:
        """Whether a run has changed, for a watch of it: when it is its turn."""
        async with self._questions.places:
            if view.ended is not None:
                return False
            changed = await self._refresh(view)
            # Also if nothing is new: a run that waits for its turn does not change for minutes.
            patience.success()
            return changed

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        """Results of a run, as `Runtime.results` gives them.

        Raises Unavailable if the engine, or the storage, is away for longer than PATIENCE seconds.
        """
        return await patiently(lambda: self._results(run_id, page), PATIENCE, lambda: not self._draining.is_set())

    async def _results(self, run_id: str, page: Page) -> list[ItemResult]:
        view = await self._view(run_id)
        await self._learn(view, page.completions)
        if page.order is ResultOrder.BY_COMPLETION:
            return await self._by_place(view, page)
        return await self._by_index(view, page)

    async def with_results(self, run_id: str) -> RunView:
        """What is known of a run, as the engine has it now; it is known where all results are. Raises RunNotFound."""
        await self.get(run_id)
        view = await self._view(run_id)
        # Others learn of it as well, and may know of results by now whose places they have not been told.
        for _ in range(_LEARNT):
            if view.knows_results or view.seen >= (completions := view.snapshot().completions):
                break
            await self._learn(view, completions)
        return view

    async def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Wait until a run has ended, but not longer than so many seconds. Raises Unavailable if the gateway stops."""
        view = await self._view(run_id)
        if view.ended is not None:
            return
        end = asyncio.create_task(self._wait_for_end(view))
        drained = asyncio.create_task(self._draining.wait())
        try:
            await asyncio.wait({end, drained}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                end.result()
            elif drained.done():
                raise shutting_down()
        finally:
            for task in (end, drained):
                task.cancel()
            await asyncio.gather(end, drained, return_exceptions=True)

    def drain(self) -> None:
        """End every watch with Unavailable."""
        self._draining.set()

    async def close(self) -> None:
        """End what is being read."""
        await self._loads.close()

    async def _view(self, run_id: str) -> RunView:
        view = self._views.use(run_id)
        if view is None:
            return await self._looked_for(run_id)
        # While the engine is away, nobody deletes runs.
        if time.monotonic() - view.looked < LOOK_SECONDS or not self._engine.is_here:
            return view
        try:
            return await self._looked_for(run_id)
        except (Unavailable, Overloaded):
            return view

    async def _looked_for(self, run_id: str) -> RunView:
        try:
            return await self._loads.get(run_id)
        except RunNotFound:
            self._views.remove(run_id)
            raise

    async def _load(self, run_id: str) -> RunView:
        described = await self._engine.describe(run_id)
        is_open = described.ended is None and described.closed is None
        view = self._views.get(run_id)
        if (
            view is not None
            and view.record.created_at == described.record.created_at
            and (view.ended is None or not is_open)
        ):
            view.looked = time.monotonic()
            return view
        view = RunView(described.record)
        if described.ended is not None:
            view.ended = described.ended
        elif described.closed is not None:
            view.end(await self._ended_outside(view.record, described.closed))
        self._views.put(run_id, view)
        return view

    async def _learn(self, view: RunView, completions: int) -> None:
        """Ask where so many results are, as far as that can be told."""
        while view.seen < completions and not view.knows_results:
            seen = view.seen
            if view.ended is not None:
                await self._wait_for_end(view)
            else:
                await self._refresh(view)
            if view.seen == seen:
                break

    async def _refresh(self, view: RunView) -> bool:
        """Ask the engine how far a run is; return whether it has changed."""
        with self._questions.question():
            progress = await self._engine.progress(view.record.run_id, view.seen)
        if progress is None:
            await self._wait_for_end(view)
            return True
        changed = view.advance(progress)
        while progress is not None and progress.more:
            progress = await self._engine.progress(view.record.run_id, view.seen)
            if progress is not None:
                view.advance(progress)
        return changed

    async def _wait_for_end(self, view: RunView) -> None:
        record = view.record
        while (result := await self._engine.result(record.run_id)) is None:
            described = await self._engine.describe(record.run_id)
            if described.closed is not None:
                result = await self._ended_outside(record, described.closed)
                break
            # An operator has reset it: it goes on in another execution, and some results may come out anew.
            view.forget_results()
        view.end(result)
        self.recent.changed(record)

    async def _ended_outside(self, record: RunRecord, closed: ClosedOutside) -> RunResult:
        """How a run has ended in the engine. Runs inside it are cancelled, if that can be done now."""
        result = await ended_outside(self._engine, record, closed)
        if self.on_ended_outside is not None and result.ended.cancel_reason is not None:
            with suppress(GatewayError):
                await self.on_ended_outside(record, result.ended.cancel_reason)
        return result

    async def _by_place(self, view: RunView, page: Page) -> list[ItemResult]:
        found: list[ItemResult] = []
        parts = self.parts.within(view.by_place(page.first, page.completions), page.first, page.completions)
        async with aclosing(parts):
            async for place, part in parts:
                results = await self.parts.results(part)
                some = islice(results, max(0, page.first - place), page.completions - place)
                found += (result for result in some if page.start <= result.item_index < page.stop)
                if len(filled := fill_page(found, text_size)) < len(found) or len(filled) == RESULT_PAGE_LENGTH:
                    return filled
        return fill_page(found, text_size)

    async def _by_index(self, view: RunView, page: Page) -> list[ItemResult]:
        start = page.start
        while start < page.stop:
            after = stop = min(page.stop, start + RESULT_PAGE_LENGTH)
            found: list[ItemResult] = []
            parts = self.parts.within(view.with_items(start, stop), page.first, page.completions)
            async with aclosing(parts):
                async for place, part in parts:
                    if part.low < stop and start < part.high:
                        results = await self.parts.results(part)
                        some = islice(results, max(0, page.first - place), max(0, page.completions - place))
                        found += (result for result in some if start <= result.item_index < stop)
                        if text_sizes(found) > RESULT_PAGE_BYTES:
                            # Nothing behind these is on the page, so that no more of it is kept, or read.
                            found = _first_by_index(found)
                            stop = found[-1].item_index + 1
            if found:
                return _first_by_index(found)
            start = after
        return []


def _first_by_index(results: list[ItemResult]) -> list[ItemResult]:
    """The first results by index, as many as a page may hold."""
    return fill_page(sorted(results, key=lambda result: result.item_index), text_size)
