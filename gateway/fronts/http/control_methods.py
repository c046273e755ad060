"""The JSON-RPC methods that cancel, list and delete runs, and that list items."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from gateway.access.access import Access
from gateway.access.audit import AuditEntry
from gateway.adapter import control_json, items_json
from gateway.adapter.json_members import Params
from gateway.adapter.status_to_json import run_status_to_json
from gateway.concurrency.fair_queue import FairQueue
from gateway.core.control import (
    BulkProgress,
    CancelRunsParams,
    DeleteRunsParams,
    ItemList,
    RunList,
)
from gateway.core.model import JsonText, RunStatus
from gateway.core.owner import Permission
from gateway.fronts.http.long_texts import Held, LongText
from gateway.fronts.http.page_text import PageText
from gateway.fronts.http.rpc_method import Origin, RpcMethod, give_back
from gateway.runs.services import RunsServices

NOTHING = "{}"
"""The result of a delete of one run."""


class ControlMethods:
    """Answers `runs/cancel`, `runs/list`, `runs/delete` and `runs/items` with a runs service.

    By filter, `runs/cancel` and `runs/delete` answer when all runs that match have been cancelled or deleted; a caller
    that leaves before stops that. A page is written in turns of `fair_queue`.
    """

    def __init__(self, services: RunsServices, fair_queue: FairQueue, access: Access) -> None:
        self._services = services
        self._access = access
        self._fair_queue = fair_queue

    def table(self) -> dict[str, RpcMethod]:
        """The methods by their names."""
        return {
            "runs/cancel": RpcMethod(self._cancel, self._write_end),
            "runs/list": RpcMethod(self._list, self._write_runs),
            "runs/delete": RpcMethod(self._delete, self._write_text),
            "runs/items": RpcMethod(self._items, self._write_items),
        }

    async def _cancel(self, params: Params, origin: Origin, held: Held) -> RunStatus | JsonText:
        cancel = control_json.cancel_params_from_json(params)
        del params
        give_back(held)
        service = self._services.of(origin.caller.view)
        with origin.entry(self._access.audit, "runs/cancel") as entry:
            if isinstance(cancel, CancelRunsParams):
                entry.concerns(cancel.filter)
                return await _at_last(service.bulk.cancel(cancel), control_json.cancel_progress_to_json, entry)
            entry.names(cancel.run_id)
            origin.concerns(cancel.run_id)
            return await service.control.cancel(cancel)

    async def _delete(self, params: Params, origin: Origin, held: Held) -> JsonText:
        delete = control_json.delete_params_from_json(params)
        del params
        give_back(held)
        service = self._services.of(origin.caller.view)
        with origin.entry(self._access.audit, "runs/delete") as entry:
            if delete.cancel:
                origin.caller.require(Permission.CANCEL)
            if isinstance(delete, DeleteRunsParams):
                entry.concerns(delete.filter)
                return await _at_last(service.bulk.delete(delete), control_json.delete_progress_to_json, entry)
            entry.names(delete.run_id)
            origin.concerns(delete.run_id)
            await service.control.delete(delete)
            return NOTHING

    async def _list(self, params: Params, origin: Origin, held: Held) -> RunList:
        lists = self._services.of(origin.caller.view).lists
        return await lists.runs(control_json.list_params_from_json(params))

    async def _items(self, params: Params, origin: Origin, held: Held) -> ItemList:
        lists = self._services.of(origin.caller.view).lists
        items = items_json.items_params_from_json(params)
        origin.concerns(items.run_id)
        return await lists.items(items)

    async def _write_end(self, ended: RunStatus | JsonText, held: Held) -> JsonText:
        await self._fair_queue.yield_turn()
        return ended if isinstance(ended, str) else run_status_to_json(ended)

    async def _write_text(self, text: JsonText, held: Held) -> JsonText:
        await self._fair_queue.yield_turn()
        return text

    async def _write_runs(self, page: RunList, held: Held) -> JsonText | LongText:
        around = '{"runs":[', control_json.end_of_run_list(page)
        return await PageText(around, page.runs, _run_pieces, page.size, self._fair_queue).fitting(held)

    async def _write_items(self, page: ItemList, held: Held) -> JsonText | LongText:
        around = '{"items":[', items_json.end_of_item_list(page)
        return await PageText(around, page.items, items_json.item_pieces, page.size, self._fair_queue).fitting(held)


async def _at_last(
    told: AsyncGenerator[BulkProgress, None], write: Callable[[BulkProgress], JsonText], entry: AuditEntry
) -> JsonText:
    """What a call that concerns many runs has come to at last."""
    async with aclosing(told):
        async for progress in told:
            last = progress
            entry.came_to(progress)
    return write(last)


def _run_pieces(run: RunStatus) -> tuple[JsonText]:
    return (run_status_to_json(run),)
