"""The calls on a server of the runs methods that end runs, find them, and look into them: another gateway has them."""

import time
from collections.abc import AsyncGenerator, Collection
from typing import Final

from msgspec.structs import replace

from gateway.adapter import control_json, items_json
from gateway.adapter.remote_errors import refuse_without_namespaces
from gateway.adapter.status_from_json import run_status_from_json
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.control import CancelParams, DeleteParams, ListParams, RunList
from gateway.core.errors import InvalidParams, MethodNotFound, RemoteError, RunNotFound, Unsupported
from gateway.core.items import Item, ItemPage
from gateway.core.model import JsonText, RunState, RunStatus, SubmitParams
from gateway.core.page_token import items_asked, items_page
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetPart
from gateway.core.runtime import RunPage, Runtime, Snapshot
from gateway.runtimes.jsonrpc.answers import ConnectionLost, unreadable
from gateway.runtimes.jsonrpc.dialect import NOBODY, Dialect
from gateway.runtimes.jsonrpc.snapshots import canonical, read_status, snapshot_of
from gateway.runtimes.jsonrpc.upstream import JsonRpcUpstream

CANCEL: Final = "runs/cancel"
LIST: Final = "runs/list"
DELETE: Final = "runs/delete"
ITEMS: Final = "runs/items"

CALL_SECONDS: Final = 60.0
"""How long the upstream may take for one of these calls, besides the time that it is to wait."""

COUNT_SECONDS: Final = 300.0
"""How long it may take to count runs, which takes time in proportion to their number."""

WAIT_SECONDS: Final = 300.0
"""How long one cancel waits, before another one does: proxies end requests that are silent for long."""


class JsonRpcControl(Runtime):
    """The part of the runtime that passes these calls on. They are repeated after a cut, since none takes effect twice.

    They raise Unsupported if the upstream is no gateway, or of a release that does not have them.
    """

    def __init__(self, upstream: JsonRpcUpstream) -> None:
        self._upstream = upstream

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        if until is None:
            return await self._cancel(CancelParams(run_id=run_id, reason=reason))
        while True:
            left = max(0.0, until - time.monotonic())
            seconds = min(left, WAIT_SECONDS)
            began = time.monotonic()
            snapshot = await self._cancel(CancelParams(run_id=run_id, reason=reason, wait=True, timeout=seconds))
            # An answer before its time says that nothing executes any more.
            if seconds == left or time.monotonic() - began < seconds:
                return snapshot

    def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        """A gateway can be followed as a relay does, over gRPC; no other server knows sets."""
        raise Unsupported("sets of runs are not followed over JSON-RPC: reach the upstream gateway by gRPC")

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        """A run that is not found by a repeated call has been deleted by the one before."""
        params = control_json.delete_params_to_json(DeleteParams(run_id=run_id, cancel=cancel))
        try:
            await self._call(DELETE, params, repeatable=False)
        except ConnectionLost as failure:
            if not failure.request_sent or failure.timed_out:
                raise
            try:
                await self._call(DELETE, params)
            except RunNotFound:
                return

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        """The cursor is the page token of the upstream."""
        params = ListParams(filter=wanted, order=order, page_size=limit, page_token=cursor)
        entries, page = await self._list(params, CALL_SECONDS)
        pace, runs = TimeSlice(), list[RunStatus]()
        for entry in entries:
            runs.append(_listed(entry, wanted))
            await pace.checkpoint()
        return RunPage(runs, page.next_page_token)

    async def count_runs(self, wanted: RunFilter) -> int:
        entries, page = await self._list(ListParams(filter=wanted, page_size=1, include_total=True), COUNT_SECONDS)
        for entry in entries:
            _listed(entry, wanted)
        if page.total_size is None:
            raise RemoteError(RemoteError.code, "unexpected response from the upstream: no number of runs")
        return page.total_size

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        params = items_asked(run_id, states, start, limit, with_inputs=with_inputs)
        text = await self._call(ITEMS, items_json.items_params_to_json(params))
        pace, items = TimeSlice(), list[Item]()
        try:
            entries, page = items_json.item_list_entries(text)
            for index, entry in enumerate(entries):
                items.append(items_json.item_from_json(entry, index))
                await pace.checkpoint()
            return items_page(items, params, page.next_page_token)
        except InvalidParams as error:
            raise unreadable(error) from None

    async def _cancel(self, params: CancelParams) -> Snapshot:
        text = control_json.cancel_params_to_json(params)
        seconds = CALL_SECONDS + (params.timeout or 0.0)
        answer = await self._call(CANCEL, text, seconds=seconds, waits=params.wait)
        # The answer names no revision: the lowest, so that whatever is read of the run is newer.
        return replace(snapshot_of(read_status(answer, params.run_id), 0), revision=0)

    async def _list(self, params: ListParams, seconds: float) -> tuple[list[JsonText], RunList]:
        asked, namespace = control_json.list_params_to_json(params), params.filter.namespace
        text = await self._call(LIST, asked, seconds=seconds, namespace=namespace)
        try:
            return control_json.run_list_entries(text)
        except InvalidParams as error:
            raise unreadable(error) from None

    async def _refuse_what_is_lost(self, params: SubmitParams) -> None:
        """Raises Unsupported if the upstream would accept a run, and ignore its labels or how long it may take."""
        named = [("labels", bool(params.labels)), ("execution_timeout", params.execution_timeout is not None)]
        lost = [name for name, given in named if given]
        if lost and not await self._is_known():
            raise Unsupported(f"the runtime of this gateway does not know {' and '.join(lost)}")

    async def _is_known(self) -> bool:
        """Whether the upstream has these calls. Then it keeps labels as well."""
        if await self._upstream.reachability.ready() is not Dialect.SUPERSET:
            return False
        if not self._upstream.has_control:
            try:
                await self._call(CANCEL, f'{{"runId":"{NOBODY}"}}')
            except Unsupported:
                return False
            except RunNotFound:
                pass
            self._upstream.has_control = True
        return True

    async def _call(
        self,
        method: str,
        params: JsonText,
        *,
        repeatable: bool = True,
        seconds: float = CALL_SECONDS,
        waits: bool = False,
        namespace: str | None = None,
    ) -> JsonText:
        if await self._upstream.reachability.ready() is not Dialect.SUPERSET:
            raise _unknown(method)
        try:
            return await self._upstream.call(
                method, params, repeatable=repeatable, seconds=seconds, waits=waits, namespace=namespace
            )
        except MethodNotFound:
            raise _unknown(method) from None


def _listed(entry: JsonText, wanted: RunFilter) -> RunStatus:
    """A run of a list. Raises Unsupported if it is not of the namespace that was asked for."""
    try:
        run = replace(canonical(run_status_from_json(entry)), results=None)
    except InvalidParams as error:
        raise unreadable(error) from None
    refuse_without_namespaces(run, wanted.namespace)
    return run


def _unknown(method: str) -> Unsupported:
    return Unsupported(f"the runtime of this gateway does not know {method}")
