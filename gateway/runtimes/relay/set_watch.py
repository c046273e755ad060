"""Following sets of runs in another gateway: one stream for each, whose tokens mean the same here and there."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import grpc
from grpc import aio

from gateway.adapter.grpc_status import from_status
from gateway.adapter.remote_errors import refuse_without_namespaces
from gateway.adapter.sets_proto import set_change_from_proto, watch_set_to_proto
from gateway.core.errors import GatewayError, InvalidParams, RemoteError, Unavailable, Unsupported, shutting_down
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetPart
from gateway.runtimes.relay.call_errors import call_error
from gateway.runtimes.relay.namespaces import CallMetadata, call_metadata
from gateway.runtimes.relay.upstream import RelayUpstream, UpstreamOutage
from runs.v1 import runs_pb2

_NAME: Final = "set"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class SetWatches:
    """The sets that are followed in an upstream, until `stop`."""

    def __init__(self, upstream: RelayUpstream) -> None:
        self._upstream = upstream
        self._calls: set[Any] = set()
        self._stopped = False

    def stop(self) -> None:
        """End all of them with Unavailable."""
        self._stopped = True
        for call in self._calls:
            call.cancel()

    async def parts(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        """Follow a set, also over restarts of the upstream. Raises Unavailable if it stays away, or loses its state."""
        outage = UpstreamOutage(self._upstream)
        told = caught_up = False
        while True:
            if self._stopped:
                raise shutting_down()
            await outage.connected()
            request = watch_set_to_proto(wanted, position, only_new=only_new and not position, name=_NAME)
            try:
                async with aclosing(self._responses(request, call_metadata(wanted.namespace))) as responses:
                    async for response in responses:
                        outage.end()
                        part = _part(response)
                        refuse_without_namespaces(next((each.status for each in part.changes), None), wanted.namespace)
                        if part.restarted and told:
                            raise Unavailable("the state of the upstream gateway has been lost", retry_after=1.0)
                        if part.caught_up and caught_up:
                            part = part._replace(caught_up=False)
                        told, caught_up, position = True, caught_up or part.caught_up, part.position
                        yield part
                await outage.pause()
            except aio.AioRpcError as error:
                if isinstance(call_error(error), InvalidParams):
                    raise Unsupported(
                        "the upstream gateway is of a release that does not follow sets of runs"
                    ) from None
                await outage.pause(error, limited=False)

    async def _responses(
        self, request: runs_pb2.WatchSet, metadata: CallMetadata
    ) -> AsyncGenerator[runs_pb2.WatchRunsResponse, None]:
        """Yield what one stream tells of its set."""
        async with self._upstream.watching() as connection:
            call: Any = connection.runs.WatchRuns(metadata=metadata)
            self._calls.add(call)
            try:
                await call.write(runs_pb2.WatchRunsRequest(add_set=request))
                while isinstance(response := await self._next(call), runs_pb2.WatchRunsResponse):
                    if response.HasField("error"):
                        raise self._upstream.told(_failure(response.error))
                    if response.HasField("ended"):
                        return
                    yield response
            finally:
                self._calls.discard(call)
                call.cancel()

    async def _next(self, call: Any) -> object:
        """The next message. Raises Unavailable if `stop` has cancelled the call."""
        try:
            return await call.read()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._stopped and not (task and task.cancelling()):
                raise shutting_down() from None
            raise


def _part(response: runs_pb2.WatchRunsResponse) -> SetPart:
    if response.HasField("caught_up"):
        return SetPart([], response.caught_up.resume_token, caught_up=True, restarted=response.caught_up.restarted)
    try:
        change = set_change_from_proto(response)
    except InvalidParams as error:
        text = f"unexpected response from the upstream gateway: {error.message}"
        raise RemoteError(RemoteError.code, text) from error
    return SetPart([change], change.position, restarted=response.update.restarted)


def _failure(error: runs_pb2.WatchError) -> GatewayError:
    code = _CODES.get(error.code, grpc.StatusCode.UNKNOWN)
    return from_status(code, error.message, error.status_details)
