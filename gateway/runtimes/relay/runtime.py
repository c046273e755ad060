"""The relay runtime: passes everything on to another gateway, and follows each run there once.

Positions mean the same in every gateway over the same state. So results are read by asking the upstream for a stream
that starts where the page does, and a client's resume token is good at the upstream and at every relay of it.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final, TypeVar

from grpc import aio

from gateway.adapter import blobs_proto, params_proto, status_proto
from gateway.core.errors import InvalidParams, RemoteError, shutting_down
from gateway.core.model import Blob, GetParams, ItemResult, SubmitParams
from gateway.core.position import Position, of_page
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page, Runtime, Snapshot, text_size
from gateway.peers.grpc.upload import PART_BYTES, PART_LENGTH, Upload, upload_parts
from gateway.runtimes.relay.upstream import RelayUpstream, UpstreamOutage
from gateway.storage.idempotency import global_key
from runs.v1 import blobs_pb2, runs_pb2

PATIENCE: Final = 10.0
"""Seconds that the upstream may be away: a restart. Watches go on after it, and calls wait for it."""

READ_SECONDS: Final = 30.0
"""How long the upstream may take for a status or a page of results."""

WRITE_SECONDS: Final = 300.0
"""How long it may take for a submit or a blob: either may be large, and waits for a disk."""

T = TypeVar("T")


class RelayRuntime(Runtime):
    """Another gateway, its upstream, as a runtime."""

    def __init__(self, address: str, *, patience: float = PATIENCE) -> None:
        self._upstream = RelayUpstream(address, patience)
        self._watches: set[aio.UnaryStreamCall[runs_pb2.GetRunRequest, runs_pb2.GetRunResponse]] = set()
        self._draining = False

    async def connect(self, seconds: float) -> bool:
        """Wait for the upstream for so long. False, and a line in the log, if it is away; it may come later."""
        connected = await self._upstream.connected(seconds)
        if not connected:
            self._upstream.missed()
        return connected

    async def put_blob(self, blob: Blob) -> str:
        self._refuse_if_draining()
        request = blobs_proto.blob_to_put_request(blob)
        method = self._upstream.blobs.PutBlob
        return (await self._upstream.call(lambda: method(request, timeout=WRITE_SECONDS))).blob_id

    async def get_blob(self, blob_id: str) -> Blob:
        request = blobs_pb2.GetBlobRequest(blob_id=blob_id)
        method = self._upstream.blobs.GetBlob
        response = await self._upstream.call(lambda: method(request, timeout=WRITE_SECONDS))
        try:
            return blobs_proto.blob_from_get_response(response)
        except InvalidParams as error:
            raise _unreadable(error) from error

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        """A submit without an idempotency key is not repeated if the connection breaks: it may have been accepted."""
        self._refuse_if_draining()
        key = global_key(scope, params.idempotency_key)
        params = params.model_copy(update={"wait": False, "timeout": None, "idempotency_key": key})
        response = await self._upstream.call(lambda: self._submit(params), repeatable=key is not None)
        # The answer names no revision: the lowest, so that whatever is read of the run is newer. A run that has ended
        # by now has a result for each item.
        items = response.run.items
        ended = items.success + items.failed == items.total
        count = items.total if ended else 0
        return _snapshot(runs_pb2.GetRunResponse(run=response.run, result_count=count, finished_prefix=count))

    async def get(self, run_id: str) -> Snapshot:
        request = params_proto.get_params_to_proto(GetParams(run_id=run_id))
        return _snapshot(await self._upstream.call(lambda: self._state(request)))

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Goes on when the upstream comes back in time. Unavailable if it does not."""
        request = params_proto.get_params_to_proto(GetParams(run_id=run_id, wait=True))
        outage = UpstreamOutage(self._upstream)
        revision = None
        while True:
            self._refuse_if_draining()
            await outage.connected()
            call = self._upstream.runs.GetRun(request)
            self._watches.add(call)
            try:
                while (response := await self._next(call)) is not None:
                    outage.over()
                    if response.revision == revision:
                        continue
                    revision = response.revision
                    snapshot = _snapshot(response)
                    yield snapshot
                    if snapshot.terminal:
                        return
                await outage.pause()
            except aio.AioRpcError as error:
                await outage.pause(error)
            finally:
                self._watches.discard(call)
                call.cancel()

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        if page.start >= page.stop or page.first >= page.completions:
            return []
        token = Position.before(page).token(run_id)
        params = GetParams(run_id=run_id, include_results=True, result_order=page.order, resume_token=token)
        request = params_proto.get_params_to_proto(params)
        return await self._upstream.call(lambda: self._page(request, page))

    async def drain(self) -> None:
        self._draining = True
        self._upstream.stop_waiting()
        for call in self._watches:
            call.cancel()

    async def close(self) -> None:
        await self.drain()
        await self._upstream.close()

    async def _submit(self, params: SubmitParams) -> runs_pb2.SubmitRunResponse:
        inputs = params.inputs
        if len(inputs) <= PART_LENGTH and sum(map(len, inputs)) <= PART_BYTES:
            request = params_proto.submit_params_to_proto(params)
            return await self._upstream.runs.SubmitRun(request, timeout=WRITE_SECONDS)
        call = self._upstream.runs.SubmitRunStream(timeout=WRITE_SECONDS)
        upload = Upload(call)
        head = params_proto.submit_params_to_proto(params.model_copy(update={"inputs": []}))
        try:
            for part in upload_parts(head, inputs):
                if not await upload.send(part):
                    break
            else:
                await upload.finish()
            return await call
        except BaseException:
            call.cancel()
            raise

    async def _state(self, request: runs_pb2.GetRunRequest) -> runs_pb2.GetRunResponse:
        call = self._upstream.runs.GetRun(request, timeout=READ_SECONDS)
        try:
            response = await call.read()
            if not isinstance(response, runs_pb2.GetRunResponse):
                raise RemoteError(RemoteError.code, "the upstream gateway has sent no state")
            return response
        finally:
            call.cancel()

    async def _page(self, request: runs_pb2.GetRunRequest, page: Page) -> list[ItemResult]:
        results: list[ItemResult] = []
        received = size = 0
        call = self._upstream.runs.GetRun(request, timeout=READ_SECONDS)
        try:
            more = True
            while more and size < RESULT_PAGE_BYTES and len(results) < RESULT_PAGE_LENGTH:
                response = await call.read()
                if not isinstance(response, runs_pb2.GetRunResponse):
                    break
                found, more = _of_page(response, page, received)
                received += len(response.run.results)
                results += found
                size += sum(map(text_size, found))
        except aio.AioRpcError:
            # What has come is good. The next page begins where this one breaks off, and fails if it must.
            if not results:
                raise
        finally:
            call.cancel()
        return results[:RESULT_PAGE_LENGTH]

    async def _next(
        self, call: "aio.UnaryStreamCall[runs_pb2.GetRunRequest, runs_pb2.GetRunResponse]"
    ) -> runs_pb2.GetRunResponse | None:
        """The next message of a watch; None at its end."""
        try:
            response = await call.read()
        except asyncio.CancelledError:
            # Either the task is cancelled, or `drain` has cancelled the call.
            task = asyncio.current_task()
            if self._draining and not (task and task.cancelling()):
                self._refuse_if_draining()
            raise
        return response if isinstance(response, runs_pb2.GetRunResponse) else None

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise shutting_down()


def _of_page(response: runs_pb2.GetRunResponse, page: Page, received: int) -> tuple[list[ItemResult], bool]:
    """The results of a message that belong to the page; and whether more can follow. So many came in earlier ones."""
    status = response.run
    if response.restarted:
        raise RemoteError(RemoteError.code, "the upstream gateway does not understand the position of this one")
    try:
        results = status_proto.run_status_from_proto(status, with_results=True).results or []
    except InvalidParams as error:
        raise _unreadable(error) from error
    return of_page(page, results, Position.from_token(response.resume_token, status.run_id, page.order), received)


def _snapshot(response: runs_pb2.GetRunResponse) -> Snapshot:
    try:
        status = status_proto.run_status_from_proto(response.run, with_results=False)
    except InvalidParams as error:
        raise _unreadable(error) from error
    return Snapshot(status, response.revision, response.result_count, response.finished_prefix)


def _unreadable(error: InvalidParams) -> RemoteError:
    """The error for a message that is not the client's fault."""
    return RemoteError(RemoteError.code, f"the upstream gateway has sent what cannot be read: {error.message}")
