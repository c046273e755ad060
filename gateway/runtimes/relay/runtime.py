"""The relay runtime: it passes everything on to another gateway, and follows each run there once.

Positions mean the same in every gateway over the same state. So results are read by asking the upstream for a stream
that starts where the page does, and a client's resume token is valid at the upstream and at every relay of it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from operator import attrgetter
from typing import Final

from grpc import aio
from msgspec.structs import replace

from gateway.adapter import blobs_proto, params_proto
from gateway.core.errors import RemoteError, shutting_down
from gateway.core.model import Blob, GetParams, ItemResult, ResultOrder, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.position import Position, ResumePoint
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetPart
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page, Snapshot, text_sizes
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.peers.grpc.upload import PART_BYTES, PART_LENGTH, UploadSender, upload_parts
from gateway.runtimes.relay.control import RelayControl
from gateway.runtimes.relay.health import HealthFollower
from gateway.runtimes.relay.namespaces import blob_metadata, call_metadata, refuse_submitted_elsewhere, submit_metadata
from gateway.runtimes.relay.responses import blob_of, results_of_page, snapshot_of, submitted_snapshot
from gateway.runtimes.relay.set_watch import SetWatches
from gateway.runtimes.relay.upstream import RelayUpstream, UpstreamOutage, WatchConnection
from gateway.storage.idempotency import global_key
from gateway.telemetry.run_contexts import RunContexts
from runs.v1 import runs_pb2

PATIENCE: Final = 10.0
"""Seconds that the upstream may be away, as during a restart. Calls wait for it, and watches go on after it."""

READ_SECONDS: Final = 30.0
"""How long the upstream may take for a status or a page of results."""

WRITE_SECONDS: Final = 300.0
"""How long it may take for a submit or a blob, which may be large and is written to a disk."""

HEARTBEAT_SECONDS: Final = 20.0
"""How often an upstream at a distance shows that a silent watch lives. Proxies end calls that are silent for a minute,
some of them after half of one."""

HEARTBEATS_PER_SECOND: Final = 1_000
"""The most heartbeats of all watches together: with very many of them, each has fewer."""

MISSED_HEARTBEATS: Final = 3
"""A watch counts as cut after so many missing heartbeats."""


class RelayRuntime(RelayControl):
    """Another gateway, the upstream, as a runtime.

    Its identity at the upstream has to see all runs that are asked for here: calls that name a run name no namespace.
    """

    is_trusted = False
    """Whether the upstream believes who the owner of a run is: it is a process of the same gateway."""

    def __init__(
        self, address: str, *, patience: float = PATIENCE, credentials: UpstreamCredentials = NO_CREDENTIALS
    ) -> None:
        super().__init__(RelayUpstream(address, patience, credentials, is_own=self.is_trusted))
        self._watches: set[aio.UnaryStreamCall[runs_pb2.GetRunRequest, runs_pb2.GetRunResponse]] = set()
        self._sets = SetWatches(self._upstream)
        self._health = HealthFollower(self._upstream, self.readiness)
        self.readiness.upstream_is_away = self._upstream.is_away
        self._draining = False
        self.run_contexts: RunContexts | None = None
        """What is told in which context a run is submitted, for what executes its tasks."""

    async def follow_readiness(self) -> None:
        """Be as ready as the upstream from now on."""
        await self._health.start()

    async def connect(self, seconds: float) -> bool:
        """Wait for the upstream. If it is away for so long, log that and return False; it may come later."""
        connected = await self._upstream.connected(seconds)
        if connected:
            self._upstream.ask_whether_accepted()
        else:
            self._upstream.mark_down()
        return connected

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        self._refuse_if_draining()
        request = blobs_proto.blob_to_put_request(blob)
        method, metadata = self._upstream.blobs.PutBlob, blob_metadata(namespace)
        putting = self._upstream.call(lambda: method(request, timeout=WRITE_SECONDS, metadata=metadata))
        return (await putting).blob_id

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        request = blobs_proto.blob_to_get_request(blob_id)
        method, metadata = self._upstream.blobs.GetBlob, call_metadata(namespace)
        return blob_of(await self._upstream.call(lambda: method(request, timeout=WRITE_SECONDS, metadata=metadata)))

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        """Submit a run. Without an idempotency key it is not repeated if the connection breaks: it may be accepted."""
        submitting = self._submitted(self._relayed(params, scope))
        if self.run_contexts is not None:
            submitting = self.run_contexts.submitted(submitting, attrgetter("status.run_id"))
        return await submitting

    async def _submitted(self, params: SubmitParams) -> Snapshot:
        repeatable = params.idempotency_key is not None
        snapshot = submitted_snapshot(await self._upstream.call(lambda: self._submit(params), repeatable=repeatable))
        refuse_submitted_elsewhere(snapshot.status, params)
        return snapshot

    async def get(self, run_id: str) -> Snapshot:
        return snapshot_of(await self._state(GetParams(run_id=run_id)))

    async def get_since(self, run_id: str, revision: int) -> Snapshot | None:
        token = ResumePoint(Position(ResultOrder.BY_INDEX), revision).token(run_id)
        response = await self._state(GetParams(run_id=run_id, resume_token=token))
        return None if response.restarted else snapshot_of(response)

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Follow a run, also over restarts of the upstream. Raises Unavailable if the upstream stays away."""
        outage = UpstreamOutage(self._upstream)
        revision, token = None, b""
        while True:
            self._refuse_if_draining()
            await outage.connected()
            interval = self._heartbeat_interval()
            # After a cut, another process may answer, which has not seen the latest state yet.
            params = GetParams(run_id=run_id, wait=True, heartbeat_interval=interval, resume_token=token)
            try:
                async with self._upstream.watching() as connection:
                    call = connection.runs.GetRun(params_proto.get_params_to_proto(params))
                    async with aclosing(self._responses(call, connection, interval)) as responses:
                        async for response in responses:
                            outage.end()
                            token = response.resume_token
                            if response.revision == revision:
                                continue
                            revision = response.revision
                            snapshot = snapshot_of(response)
                            yield snapshot
                            if snapshot.terminal:
                                return
                await outage.pause()
            except aio.AioRpcError as error:
                await outage.pause(error, limited=False)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        if page.start >= page.stop or page.first >= page.completions:
            return []
        token = ResumePoint(Position.before(page)).token(run_id)
        params = GetParams(run_id=run_id, include_results=True, result_order=page.order, resume_token=token)
        request = params_proto.get_params_to_proto(params)
        return await self._upstream.call(lambda: self._read_page(request, page))

    def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        return self._sets.parts(wanted, position, only_new=only_new)

    async def drain(self) -> None:
        self._draining = True
        self._upstream.stop_waiting()
        self._sets.stop()
        for call in self._watches:
            call.cancel()

    async def close(self) -> None:
        await self.drain()
        await self._health.close()
        await self._upstream.close()

    def _relayed(self, params: SubmitParams, scope: str) -> SubmitParams:
        """What the upstream is asked for: it knows no scopes, and nobody waits there. Raises Unavailable at the end."""
        self._refuse_if_draining()
        return replace(params, wait=False, timeout=None, idempotency_key=global_key(scope, params.idempotency_key))

    async def _submit(self, params: SubmitParams) -> runs_pb2.SubmitRunResponse:
        inputs = params.inputs
        metadata = submit_metadata(params.owner, trusted=self.is_trusted)
        if len(inputs) <= PART_LENGTH and sum(map(len, inputs)) <= PART_BYTES:
            request = params_proto.submit_params_to_proto(params)
            return await self._upstream.runs.SubmitRun(request, timeout=WRITE_SECONDS, metadata=metadata)
        call = self._upstream.runs.SubmitRunStream(timeout=WRITE_SECONDS, metadata=metadata)
        upload = UploadSender(call)
        head = params_proto.submit_params_to_proto(replace(params, inputs=[]))
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

    async def _state(self, params: GetParams) -> runs_pb2.GetRunResponse:
        request = params_proto.get_params_to_proto(params)
        return await self._upstream.call(lambda: self._read_state(request))

    async def _read_state(self, request: runs_pb2.GetRunRequest) -> runs_pb2.GetRunResponse:
        call = self._upstream.runs.GetRun(request, timeout=READ_SECONDS)
        try:
            response = await call.read()
            if not isinstance(response, runs_pb2.GetRunResponse):
                raise RemoteError(RemoteError.code, "unexpected response from the upstream gateway: no state")
            return response
        finally:
            call.cancel()

    async def _read_page(self, request: runs_pb2.GetRunRequest, page: Page) -> list[ItemResult]:
        results: list[ItemResult] = []
        received = size = 0
        call = self._upstream.runs.GetRun(request, timeout=READ_SECONDS)
        try:
            more = True
            while more and size < RESULT_PAGE_BYTES and len(results) < RESULT_PAGE_LENGTH:
                response = await call.read()
                if not isinstance(response, runs_pb2.GetRunResponse):
                    break
                found, more = results_of_page(response, page, received)
                received += len(response.run.results)
                results += found
                size += text_sizes(found)
        except aio.AioRpcError:
            # The results that have come are valid. The next page begins after them, and fails if it must.
            if not results:
                raise
        finally:
            call.cancel()
        return results[:RESULT_PAGE_LENGTH]

    def _heartbeat_interval(self) -> float | None:
        """The heartbeats of one more watch; None on a socket, which no proxy is in the way of."""
        if self._upstream.is_local:
            return None
        return max(HEARTBEAT_SECONDS, len(self._watches) / HEARTBEATS_PER_SECOND)

    async def _responses(
        self,
        call: "aio.UnaryStreamCall[runs_pb2.GetRunRequest, runs_pb2.GetRunResponse]",
        connection: WatchConnection,
        interval: float | None,
    ) -> AsyncGenerator[runs_pb2.GetRunResponse, None]:
        """Yield the messages of a watch. It ends early, and its connection is dead, if heartbeats are missing."""
        self._watches.add(call)
        seconds = None if interval is None else MISSED_HEARTBEATS * interval
        try:
            while True:
                async with asyncio.timeout(seconds):
                    response = await self._next(call)
                if response is None:
                    return
                yield response
        except TimeoutError:
            connection.dead = True
        finally:
            self._watches.discard(call)
            call.cancel()

    async def _next(
        self, call: "aio.UnaryStreamCall[runs_pb2.GetRunRequest, runs_pb2.GetRunResponse]"
    ) -> runs_pb2.GetRunResponse | None:
        """Return the next message of a watch; None at its end."""
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
