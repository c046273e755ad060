"""Pages of runs, and of the items of a run.

A page ends early when it holds about a mebibyte: a thousand runs with long labels, or items with a thousand steps, are
far more than a page of ordinary ones.
"""

from typing import Final

from gateway.core.control import ItemList, ItemsParams, ListParams, RunList, page_limit
from gateway.core.errors import InvalidParams
from gateway.core.items import Item, StepStatus
from gateway.core.model import RunStatus
from gateway.core.runtime import RESULT_PAGE_BYTES, Runtime, text_size
from gateway.runs.ids import checked_run_id
from gateway.runs.page_token import binding_of_items, binding_of_list, cursor_of, page_token

AT_ONCE: Final = 100
"""How many runs or items the runtime is asked for at once: those may be large, and only then it shows."""

_RUN_SIZE: Final = 400
_ITEM_SIZE: Final = 120
_STEP_SIZE: Final = 100
"""About how long a run, an item and a step are without their texts."""


class RunLists:
    """Lists the runs, and the items of runs, that one runtime has."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def runs(self, params: ListParams) -> RunList:
        """A page of runs. Raises InvalidParams if the page token does not belong to this filter and order."""
        binding = binding_of_list(params)
        cursor, limit = cursor_of(params.page_token, binding), page_limit(params.page_size)
        runs: list[RunStatus] = []
        size = 0
        while True:
            page = await self._runtime.list_runs(params.filter, params.order, cursor, min(AT_ONCE, limit - len(runs)))
            runs += page.runs
            size += sum(map(run_size, page.runs))
            cursor = page.cursor
            if not cursor or len(runs) >= limit or size >= RESULT_PAGE_BYTES:
                break
        total = await self._runtime.count_runs(params.filter) if params.include_total else None
        return RunList(runs, page_token(cursor, binding), total)

    async def items(self, params: ItemsParams) -> ItemList:
        """A page of items. Raises InvalidParams if the page token does not belong to this run and these states."""
        run_id = checked_run_id(params.run_id)
        binding = binding_of_items(run_id, params)
        start, limit = _index(cursor_of(params.page_token, binding)), page_limit(params.page_size)
        items: list[Item] = []
        size = 0
        rest: int | None = start
        while rest is not None and len(items) < limit and size < RESULT_PAGE_BYTES:
            page = await self._runtime.items(
                run_id, params.states, rest, min(AT_ONCE, limit - len(items)), with_inputs=params.include_inputs
            )
            rest = page.rest
            for item in page.items:
                size += item_size(item)
                if items and size > RESULT_PAGE_BYTES:
                    rest = item.item_index
                    break
                items.append(item)
        return ItemList(items, page_token("" if rest is None else str(rest), binding))


def run_size(run: RunStatus) -> int:
    """About how long a run is in an answer, in characters."""
    size = _RUN_SIZE + len(run.flow_name or "") + len(run.flow_label or "") + len(run.cancel_reason or "")
    if run.labels:
        size += sum(len(name) + len(value) for name, value in run.labels.items())
    if run.extensions:
        size += sum(len(name) + len(text) for name, text in run.extensions.items())
    return size


def item_size(item: Item) -> int:
    """About how long an item is in an answer, in characters."""
    size = _ITEM_SIZE + len(item.input or "") + sum(map(_step_size, item.steps))
    return size if item.result is None else size + text_size(item.result)


def _step_size(step: StepStatus) -> int:
    size = _STEP_SIZE + len(step.step_id) + len(step.component)
    return size if step.error is None else size + len(step.error.message)


def _index(cursor: str) -> int:
    if cursor and not (cursor.isascii() and cursor.isdecimal()):
        raise InvalidParams.field("page_token", description="not a token of this server")
    return int(cursor or 0)
