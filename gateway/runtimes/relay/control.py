"""The calls on another gateway that end runs, find them, and look into them."""

import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeVar

from gateway.adapter import control_proto, items_proto, status_proto
from gateway.adapter.remote_errors import refuse_without_namespaces
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.control import CancelParams, DeleteParams, ListParams
from gateway.core.errors import InvalidParams, MethodNotFound, RemoteError, RunNotFound, Unsupported
from gateway.core.items import Item, ItemPage
from gateway.core.model import RunState
from gateway.core.page_token import items_asked, items_page
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import RunPage, Runtime, Snapshot
from gateway.runtimes.relay.namespaces import call_metadata
from gateway.runtimes.relay.responses import ended_snapshot, unexpected_response
from gateway.runtimes.relay.upstream import RelayUpstream
from runs.v1 import runs_pb2

CALL_SECONDS: Final = 60.0
"""How long the upstream may take for one of these calls, besides the time that it is to wait."""

COUNT_SECONDS: Final = 300.0
"""How long it may take to count runs, which takes time in proportion to their number."""

LONGEST_SECONDS: Final = 1e8
"""A wait that may last longer than this has no limit, since none would count."""

T = TypeVar("T")


class RelayControl(Runtime):
    """The part of the runtime that passes these calls on. They are repeated after a cut, since none takes effect twice.

    They raise Unsupported if the upstream is of a release that does not have them.
    """

    def __init__(self, upstream: RelayUpstream) -> None:
        self._upstream = upstream

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:

        async def attempt() -> runs_pb2.CancelRunResponse:
            params = CancelParams(run_id=run_id, reason=reason)
            if until is None:
                return await self._upstream.runs.CancelRun(_cancel(params), timeout=CALL_SECONDS)
            left = max(0.0, until - time.monotonic())
            seconds = None if left > LONGEST_SECONDS else left
            limit = None if seconds is None else seconds + CALL_SECONDS
            params = CancelParams(run_id=run_id, reason=reason, wait=True, timeout=seconds)
            # On a connection for what lasts: one for short calls would have no room for others.
            async with self._upstream.watching() as connection:
                return await connection.runs.CancelRun(_cancel(params), timeout=limit)

        return ended_snapshot(await self._call(attempt))

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        """A run that is not found by a repeated call has been deleted by the one before."""
        request = control_proto.delete_params_to_proto(DeleteParams(run_id=run_id, cancel=cancel))
        attempts = 0

        async def attempt() -> runs_pb2.DeleteRunResponse:
            nonlocal attempts
            attempts += 1
            return await self._upstream.runs.DeleteRun(request, timeout=CALL_SECONDS)

        try:
            await self._call(attempt)
        except RunNotFound:
            if attempts == 1:
                raise

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        """The cursor is the page token of the upstream."""
        params = ListParams(filter=wanted, order=order, page_size=limit, page_token=cursor)
        response = await self._list(params, CALL_SECONDS)
        pace, runs = TimeSlice(), []
        try:
            for run in response.runs:
                status = status_proto.run_status_from_proto(run, with_results=False)
                refuse_without_namespaces(status, wanted.namespace)
                runs.append(status)
                await pace.checkpoint()
        except InvalidParams as error:
            raise unexpected_response(error) from error
        return RunPage(runs, response.next_page_token)

    async def count_runs(self, wanted: RunFilter) -> int:
        response = await self._list(ListParams(filter=wanted, page_size=1, include_total=True), COUNT_SECONDS)
        for run in response.runs:
            refuse_without_namespaces(status_proto.run_status_from_proto(run, with_results=False), wanted.namespace)
        if not response.HasField("total_size"):
            raise RemoteError(RemoteError.code, "unexpected response from the upstream gateway: no number of runs")
        return response.total_size

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        params = items_asked(run_id, states, start, limit, with_inputs=with_inputs)
        request = items_proto.items_params_to_proto(params)
        method = self._upstream.runs.ListItems
        response = await self._call(lambda: method(request, timeout=CALL_SECONDS))
        pace, items = TimeSlice(), list[Item]()
        try:
            for index, item in enumerate(response.items):
                items.append(items_proto.item_from_proto(item, index))
                await pace.checkpoint()
            return items_page(items, params, response.next_page_token)
        except InvalidParams as error:
            raise unexpected_response(error) from error

    async def _list(self, params: ListParams, seconds: float) -> runs_pb2.ListRunsResponse:
        request = control_proto.list_params_to_proto(params)
        method, metadata = self._upstream.runs.ListRuns, call_metadata(params.filter.namespace)
        return await self._call(lambda: method(request, timeout=seconds, metadata=metadata))

    async def _call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._upstream.call(attempt)
        except MethodNotFound:
            raise Unsupported("the upstream gateway is of a release that does not know this call") from None


def _cancel(params: CancelParams) -> runs_pb2.CancelRunRequest:
    return control_proto.cancel_params_to_proto(params)
