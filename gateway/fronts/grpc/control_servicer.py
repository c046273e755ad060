# ruff: noqa: N802 - the contract names the methods.
"""The methods of the runs service that cancel, list and delete runs, and that list items."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from msgspec.structs import replace

from gateway.access.access import Access
from gateway.access.audit import AuditEntry
from gateway.adapter import control_proto, items_proto
from gateway.adapter.long_items import long_item_page
from gateway.adapter.status_proto import run_status_to_proto
from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.core.control import BulkProgress, DeleteParams, DeleteRunsParams, ItemList
from gateway.core.errors import TooLarge
from gateway.core.items import Item
from gateway.core.model import ItemError, canonical_run_id
from gateway.core.owner import Permission
from gateway.fronts.grpc.answer_form import VALUES_FACTOR, not_received, receive_limit
from gateway.fronts.grpc.calls import CapacityLimiter, Context, answer_by, handler
from gateway.fronts.grpc.connections import BUILDING, COPIES, SMALL_MESSAGE, CallMemory, Connections
from gateway.fronts.grpc.grpcio_server import MethodHandler
from gateway.fronts.grpc.long_answers import LONG
from gateway.fronts.grpc.messages import Encoding
from gateway.fronts.grpc.observed_context import call_of
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from runs.v1 import runs_pb2

_JSON: Final = runs_pb2.RESULT_ENCODING_JSON
_VALUE: Final = runs_pb2.RESULT_ENCODING_VALUE
_TOO_LARGE: Final = ItemError(
    code=TooLarge.code,
    message="the item does not fit into a message: set max_response_message_bytes in the request, or fetch it by"
    " JSON-RPC (runs/items, runs/get)",
)


class ControlServicer:
    """Cancels, lists and deletes runs. `calls` counts the calls that wait for nothing, `waits` all others.

    `send` is the largest message, in bytes.
    """

    def __init__(
        self,
        services: RunsServices,
        calls: CapacityLimiter,
        waits: CapacityLimiter,
        connections: Connections,
        send: int,
        *,
        access: Access,
    ) -> None:
        self._services = services
        self._calls = calls
        self._waits = waits
        self._connections = connections
        self._send = send
        self._access = access
        self._fair_queue = FairQueue()

    def handlers(self) -> dict[str, MethodHandler]:
        """The handlers of the methods, by their names. Answers come serialized: pages are built in parts."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods: list[tuple[Callable[..., Any], Any, Callable[[bytes], Any]]] = [
            (unary, self.CancelRun, runs_pb2.CancelRunRequest.FromString),
            (unary, self.ListRuns, runs_pb2.ListRunsRequest.FromString),
            (unary, self.DeleteRun, runs_pb2.DeleteRunRequest.FromString),
            (unary, self.ListItems, runs_pb2.ListItemsRequest.FromString),
            (stream, self.CancelRuns, runs_pb2.CancelRunsRequest.FromString),
            (stream, self.DeleteRuns, runs_pb2.DeleteRunsRequest.FromString),
        ]
        return {
            method.__name__: kind(method, request_deserializer=parse, response_serializer=bytes)
            for kind, method, parse in methods
        }

    @handler
    async def CancelRun(self, request: runs_pb2.CancelRunRequest, context: Context) -> bytes:
        """Cancel a run."""
        with self._waits if request.wait else self._calls:
            params = control_proto.cancel_params_from_proto(request)
            with self._entry("CancelRun", context) as entry:
                entry.names(params.run_id)
                call_of(context).run_id = canonical_run_id(params.run_id) or ""
                run = await self._service(context).control.cancel(params, answer_by=answer_by(context))
            answer = runs_pb2.CancelRunResponse(run=run_status_to_proto(run)).SerializeToString()
            if len(answer) > SMALL_MESSAGE:
                self._connections.of(context).grow(COPIES * len(answer))
            return answer

    @handler
    async def DeleteRun(self, request: runs_pb2.DeleteRunRequest, context: Context) -> bytes:
        """Delete a run."""
        with self._calls:
            params = control_proto.delete_params_from_proto(request)
            with self._entry("DeleteRun", context) as entry:
                entry.names(params.run_id)
                call_of(context).run_id = canonical_run_id(params.run_id) or ""
                self._require_cancel(params, context)
                await self._service(context).control.delete(params)
            return runs_pb2.DeleteRunResponse().SerializeToString()

    @handler
    async def ListRuns(self, request: runs_pb2.ListRunsRequest, context: Context) -> bytes:
        """List runs."""
        with self._calls:
            page = await self._service(context).lists.runs(control_proto.list_params_from_proto(request))
            memory = self._connections.of(context)
            memory.grow(BUILDING * page.size)
            answer = await self._joined(control_proto.run_list_parts(page))
            if len(answer) > self._send:
                raise TooLarge("the run does not fit into one message")
            return await self._sent(answer, memory)

    @handler
    async def ListItems(self, request: runs_pb2.ListItemsRequest, context: Context) -> bytes:
        """List the items of a run."""
        with self._calls:
            call_of(context).run_id = canonical_run_id(request.run_id) or ""
            page = await self._service(context).lists.items(items_proto.items_params_from_proto(request))
            memory = self._connections.of(context)
            factor = VALUES_FACTOR if request.result_encoding == _VALUE else BUILDING
            memory.grow(factor * page.size)
            limit = min(receive_limit(request.max_response_message_bytes), self._send)
            return await self._sent(await self._items(page, request.result_encoding, limit), memory)

    @handler
    async def CancelRuns(self, request: runs_pb2.CancelRunsRequest, context: Context) -> None:
        """Cancel the runs that match a filter."""
        with self._waits:
            params = control_proto.cancel_runs_params_from_proto(request)
            with self._entry("CancelRuns", context) as entry:
                entry.concerns(params.filter)
                told = self._service(context).bulk.cancel(params)
                await _tell(told, control_proto.cancel_progress_to_proto, context, entry)

    @handler
    async def DeleteRuns(self, request: runs_pb2.DeleteRunsRequest, context: Context) -> None:
        """Delete the runs that match a filter."""
        with self._waits:
            params = control_proto.delete_runs_params_from_proto(request)
            with self._entry("DeleteRuns", context) as entry:
                entry.concerns(params.filter)
                self._require_cancel(params, context)
                told = self._service(context).bulk.delete(params)
                await _tell(told, control_proto.delete_progress_to_proto, context, entry)

    def _entry(self, method: str, context: Context) -> AuditEntry:
        """What the audit log is told of a call."""
        memory = self._connections.of(context)
        return self._access.audit.entry(memory.caller, "grpc", method, memory.peer)

    def _service(self, context: Context) -> RunsService:
        """The service for what the caller sees."""
        return self._services.of(self._connections.of(context).caller.view)

    def _require_cancel(self, params: DeleteParams | DeleteRunsParams, context: Context) -> None:
        """Raise PermissionDenied if runs are to be cancelled first, and the caller may not do that."""
        if params.cancel:
            self._connections.of(context).caller.require(Permission.CANCEL)

    async def _items(self, page: ItemList, encoding: Encoding, limit: int) -> bytes:
        """A page of items that is no larger than `limit`; as JSON if it would be in another encoding."""
        if len(page.items) == 1 and encoding != _VALUE and page.size > LONG:
            answer = await self._long_item(page, limit)
        else:
            answer = await self._joined(items_proto.item_list_parts(page, encoding))
            if len(answer) > limit and encoding == _VALUE:
                answer = await self._joined(items_proto.item_list_parts(page, _JSON))
        if answer is None or len(answer) > limit:
            page = replace(page, items=[_without_texts(item) for item in page.items])
            answer = await self._joined(items_proto.item_list_parts(page, _JSON))
            if len(answer) > limit:
                raise not_received("an item", len(answer), limit)
        return answer

    async def _long_item(self, page: ItemList, limit: int) -> bytes | None:
        checkpoint = FairSlices(self._fair_queue).checkpoint
        writing = long_item_page(page, limit)
        while True:
            try:
                next(writing)
            except StopIteration as written:
                answer: bytes | None = written.value
                return answer
            await checkpoint()

    async def _joined(self, parts: Iterator[bytes]) -> bytes:
        """The parts as one, which are made in turns with everything else."""
        made = []
        for part in parts:
            made.append(part)
            await self._fair_queue.yield_turn()
        return b"".join(made)

    async def _sent(self, answer: bytes, memory: CallMemory) -> bytes:
        """The answer, when it is its turn to be sent; the call holds it, and nothing else any more."""
        if len(answer) > LONG:
            await self._connections.begin_long(memory, COPIES * len(answer))
            await self._connections.long_turn()
        memory.release()
        if len(answer) > SMALL_MESSAGE:
            memory.grow(COPIES * len(answer))
        return answer


async def _tell(
    told: AsyncGenerator[BulkProgress, None],
    write: Callable[[BulkProgress], Message],
    context: Context,
    entry: AuditEntry,
) -> None:
    """Send how far a call has come, until it has ended; it ends as well if the client leaves."""
    async with aclosing(told):
        async for progress in told:
            entry.came_to(progress)
            await context.write(write(progress).SerializeToString())


def _without_texts(item: Item) -> Item:
    """The item without its input, and with an error in place of its result that says where to fetch it."""
    if item.result is None:
        return replace(item, input=None)
    return replace(item, input=None, result=replace(item.result, value=None, error=_TOO_LARGE))
