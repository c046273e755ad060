"""The items of an engine's run, with their steps, as clients look into it.

An engine answers with all items at once. So what was read last is kept for the pages that follow the first one.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from msgspec import UnsetType

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.items import MAX_STEPS, Item, ItemPage, StepState, StepStatus
from gateway.core.model import ItemError, ItemResult, JsonText, RunState, RunStatus
from gateway.core.runtime import RESULT_PAGE_BYTES, text_size
from gateway.runtimes.stepflow.results import ERROR_CODES, UNKNOWN_FAILURE, Results
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.wire_format import (
    DetailBody,
    StepBody,
    WireFormat,
    decode_components,
    decode_details,
    decode_steps,
    read_time,
)

RECENT_VIEWS: Final = 16
RECENT_BYTES: Final = 64 << 20
"""Of how many runs the items are kept for the pages that follow, and how large the engine's answers may be together."""

_STEP_STATES: Final[dict[int | str, StepState]] = {
    1: StepState.RUNNING,
    2: StepState.SUCCESS,
    3: StepState.FAILED,
    4: StepState.CANCELLED,
    "blocked": StepState.PENDING,
    "runnable": StepState.PENDING,
    "running": StepState.RUNNING,
    "completed": StepState.SUCCESS,
    "skipped": StepState.CANCELLED,
    "failed": StepState.FAILED,
    "cancelled": StepState.CANCELLED,
}


class _ShownItem(NamedTuple):
    """What the engine shows of an item beside its result."""

    steps: tuple[StepStatus, ...] = ()
    input: JsonText | None = None


class _View(NamedTuple):
    """The items of a run. There are results if it is over."""

    run: RunStatus
    results: Results | None
    shown: dict[int, _ShownItem]


class ItemViews:
    """Looks into the runs of an engine."""

    def __init__(self, runs: Runs, wire_format: WireFormat) -> None:
        self._runs = runs
        self._wire_format = wire_format
        self._recent: BoundedCache[str, _View] = BoundedCache(RECENT_VIEWS, RECENT_BYTES)

    async def page(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        """Return items as `Runtime.items` does. 0.12 and 0.13 show no inputs."""
        view = self._recent.use(run_id) if start else None
        if view is None:
            view = await self._read(run_id)
        pace, found, size = TimeSlice(), list[Item](), 0
        for index in range(start, view.run.items.total):
            await pace.checkpoint()
            item, text = _item(view, index, with_input=with_inputs)
            if states and item.status not in states:
                continue
            if found and (len(found) == limit or size + text > RESULT_PAGE_BYTES):
                return ItemPage(found, index)
            found.append(item)
            size += text
        return ItemPage(found, None)

    async def _read(self, run_id: str) -> _View:
        run = await self._runs.read(run_id)
        # First the steps: an item with a result has them, and one without may have got some since.
        if self._wire_format is WireFormat.LEGACY:
            body = await self._runs.fetched(f"/runs/{run_id}")
            components = decode_components(await self._runs.fetched(f"/runs/{run_id}/steps"))
            shown = await _shown_of_details(decode_details(body), components)
        else:
            body = await self._runs.fetched(f"/runs/{run_id}/steps")
            shown = await _shown_of_steps(decode_steps(body))
        results = await self._runs.all_results(run)
        view = _View(run, results, shown)
        self._recent.put(run_id, view, len(body))
        return view


def _item(view: _View, index: int, *, with_input: bool) -> tuple[Item, int]:
    """An item, and about how much text it has."""
    run, shown = view.run, view.shown.get(index, _ShownItem())
    result = None if view.results is None else view.results[index]
    waiting = RunState.RUNNING if shown.steps else RunState.PENDING
    steps = shown.steps
    if run.status.terminal:
        # What an engine executes of a run that is over counts for nothing.
        steps = tuple(_stopped(step) for step in steps)
    given = shown.input if with_input else None
    item = Item(
        item_index=index,
        status=waiting if result is None else result.status,
        input=given,
        result=_outcome(result),
        completed_at=None if result is None else result.completed_at,
        steps=steps,
    )
    texts = sum(
        len(step.step_id) + len(step.component) + len(step.error.message if step.error else "") for step in steps
    )
    return item, len(given or "") + texts + (0 if result is None else text_size(result))


def _outcome(result: ItemResult | None) -> ItemResult | None:
    """The result of an item, if it has an outcome."""
    return None if result is None or result.status is RunState.CANCELLED else result


def _stopped(step: StepStatus) -> StepStatus:
    if step.status not in (StepState.RUNNING, StepState.PENDING):
        return step
    return StepStatus(step.step_id, step.component, StepState.CANCELLED, step.attempts)


async def _shown_of_steps(bodies: Sequence[StepBody]) -> dict[int, _ShownItem]:
    pace = TimeSlice()
    found: dict[int, list[StepStatus]] = {}
    for body in bodies:
        await pace.checkpoint()
        steps = found.setdefault(body.item_index, [])
        if len(steps) < MAX_STEPS:
            steps.append(_step(body))
    return {index: _ShownItem(tuple(steps)) for index, steps in found.items()}


def _step(body: StepBody) -> StepStatus:
    state = _STEP_STATES.get(body.status, StepState.RUNNING)
    error = None
    if state is StepState.FAILED:
        code = ERROR_CODES.get(body.error_code, UNKNOWN_FAILURE)
        error = ItemError(code=code, message=body.error_message or "the engine does not say why")
    changed = None if body.updated_at is None else read_time(body.updated_at)
    running = state is StepState.RUNNING
    return StepStatus(
        body.step_id,
        body.component,
        state,
        # That it was called is known, and not how often.
        attempts=1,
        started_at=changed if running else None,
        completed_at=None if running else changed,
        error=error,
    )


async def _shown_of_details(bodies: Sequence[DetailBody], components: dict[str, str]) -> dict[int, _ShownItem]:
    pace = TimeSlice()
    found: dict[int, _ShownItem] = {}
    for body in bodies:
        await pace.checkpoint()
        steps = tuple(
            StepStatus(step.step_id, components.get(step.step_id, ""), _STEP_STATES.get(step.status, StepState.RUNNING))
            for step in body.steps[:MAX_STEPS]
        )
        given = None if isinstance(body.input, UnsetType) else str(body.input, "utf-8")
        found[body.item_index] = _ShownItem(steps, given)
    return found
