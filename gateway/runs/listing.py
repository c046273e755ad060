"""Pages of runs, and of the items of a run.

A page ends early when it holds about a mebibyte: a thousand runs with long labels, or items with a thousand steps, are
far more than a page of ordinary ones, and clients receive 4 MiB.
"""

import asyncio
from typing import Final

from gateway.core.control import ItemList, ItemsParams, ListParams, RunList, page_limit
from gateway.core.errors import InvalidParams
from gateway.core.items import Item
from gateway.core.model import RunStatus
from gateway.core.page_sizes import item_bytes, run_bytes
from gateway.core.page_token import binding_of_items, binding_of_list, cursor_of, page_token
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import RESULT_PAGE_BYTES, RunPage, Runtime
from gateway.runs.ids import checked_run_id

AT_ONCE: Final = 100
"""How many runs or items the runtime is asked for at once: those may be large, and only then it shows."""

READS: Final = 32
"""How many such pages are read at once, and runs counted: nothing counts pages before they are there."""

MOST_BYTES: Final = 2 * RESULT_PAGE_BYTES
"""How large a page of runs is at most, unless it is a single one."""

_INDEX_DIGITS: Final = 18
"""Whatever has more digits is no index of an item."""


class RunLists:
    """Lists the runs, and the items of runs, that one runtime has. Tokens of pages of runs belong to `namespace`.

    `reads` bounds how many pages are read at once, of all lists that share it.
    """

    def __init__(
        self, runtime: Runtime, reads: asyncio.Semaphore | None = None, *, namespace: str | None = None
    ) -> None:
        self._runtime = runtime
        self._reads = reads or asyncio.Semaphore(READS)
        self._namespace = namespace

    async def read(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        """At most `limit` runs that match, or at most AT_ONCE, after a cursor of the runtime."""
        async with self._reads:
            return await self._runtime.list_runs(wanted, order, cursor, min(AT_ONCE, limit))

    async def runs(self, params: ListParams) -> RunList:
        """A page of runs. Raises InvalidParams if the page token does not belong to this filter and order."""
        binding = binding_of_list(params, self._namespace)
        cursor, left = cursor_of(params.page_token, binding), page_limit(params.page_size)
        runs: list[RunStatus] = []
        size, at_once = 0, AT_ONCE
        while left > 0 and size < RESULT_PAGE_BYTES:
            page = await self.read(params.filter, params.order, cursor, min(left, at_once))
            added = sum(map(run_bytes, page.runs))
            if size + added > MOST_BYTES and len(page.runs) > 1:
                # They are asked for again, but fewer of them: only the runtime can name the point after a run.
                at_once = max(1, len(page.runs) // 2)
                continue
            size += added
            left -= len(page.runs)
            runs += page.runs
            cursor = page.cursor
            if not cursor or not page.runs:
                break
        total = None
        if params.include_total:
            async with self._reads:
                total = await self._runtime.count_runs(params.filter)
        return RunList(runs, page_token(cursor, binding), total, size)

    async def items(self, params: ItemsParams) -> ItemList:
        """A page of items. Raises InvalidParams if the page token does not belong to this run and these states."""
        run_id = checked_run_id(params.run_id)
        binding = binding_of_items(run_id, params)
        limit = page_limit(params.page_size)
        items: list[Item] = []
        size = 0
        rest: int | None = _index(cursor_of(params.page_token, binding))
        while rest is not None and len(items) < limit and size < RESULT_PAGE_BYTES:
            at_once = min(AT_ONCE, limit - len(items))
            async with self._reads:
                page = await self._runtime.items(
                    run_id, params.states, rest, at_once, with_inputs=params.include_inputs
                )
            rest = page.rest
            for item in page.items:
                added = item_bytes(item)
                if items and size + added > RESULT_PAGE_BYTES:
                    rest, limit = item.item_index, 0
                    break
                items.append(item)
                size += added
        return ItemList(items, page_token("" if rest is None else str(rest), binding), size)


def _index(cursor: str) -> int:
    if cursor and not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= _INDEX_DIGITS):
        raise InvalidParams.field("page_token", description="not a token of this server")
    return int(cursor or 0)
