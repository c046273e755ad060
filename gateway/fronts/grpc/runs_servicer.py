# ruff: noqa: N802 - the contract names the methods.
"""The runs service: a handler translates, calls the service and translates back.

Messages of streams are written rather than yielded: grpc would leave a generator unclosed when the client leaves.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio

from gateway.adapter import params_proto, status_proto
from gateway.concurrency.fair_queue import FairQueue
from gateway.core.model import SubmitParams
from gateway.core.packed_texts import PackedTexts
from gateway.fronts.grpc.calls import CapacityLimiter, Context, deadline, handler
from gateway.fronts.grpc.inputs import SLICE_BYTES, read_inputs
from gateway.fronts.grpc.messages import Encoding, UpdateMessages, parts
from gateway.fronts.grpc.server import GrpcLimits
from gateway.fronts.grpc.submit_stream import Upload
from gateway.fronts.grpc.watch_runs import WatchStream
from gateway.runs.service import RunsService
from runs.v1 import runs_pb2

SERVICE = runs_pb2.DESCRIPTOR.services_by_name["RunsService"].full_name


class RunsServicer:
    """Submits runs and follows them. `calls` counts the calls that wait for nothing."""

    def __init__(self, service: RunsService, calls: CapacityLimiter, limits: GrpcLimits) -> None:
        self._service = service
        self._calls = calls
        self._limits = limits
        self._waits = CapacityLimiter(limits.waits, "waiting calls")
        self._uploads = CapacityLimiter(limits.upload, "bytes of uploads")
        self._followed = CapacityLimiter(limits.followed, "followed runs")
        self._messages = UpdateMessages(limits.send)
        self._fair_queue = FairQueue()
        self._watch_streams: set[WatchStream] = set()

    def add_to(self, server: aio.Server) -> None:
        """Let a server answer the methods. The messages of streams come serialized, since many calls share them."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "SubmitRun": grpc.unary_unary_rpc_method_handler(
                self.SubmitRun,
                request_deserializer=runs_pb2.SubmitRunRequest.FromString,
                response_serializer=runs_pb2.SubmitRunResponse.SerializeToString,
            ),
            "GetRun": grpc.unary_stream_rpc_method_handler(
                self.GetRun,
                request_deserializer=runs_pb2.GetRunRequest.FromString,
                response_serializer=bytes,
            ),
            "WatchRuns": grpc.stream_stream_rpc_method_handler(
                self.WatchRuns,
                request_deserializer=runs_pb2.WatchRunsRequest.FromString,
                response_serializer=bytes,
            ),
            "SubmitRunStream": grpc.stream_unary_rpc_method_handler(
                self.SubmitRunStream,
                request_deserializer=runs_pb2.SubmitRunStreamRequest.FromString,
                response_serializer=runs_pb2.SubmitRunResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        server.add_registered_method_handlers(SERVICE, handlers)

    def stop(self) -> None:
        """End the streams that would not end by themselves."""
        for stream in self._watch_streams:
            stream.stop()

    @handler
    async def SubmitRun(self, request: runs_pb2.SubmitRunRequest, context: Context) -> runs_pb2.SubmitRunResponse:
        """Submit a run."""
        with self._waits if request.wait else self._calls:
            if request.ByteSize() <= SLICE_BYTES:
                params = params_proto.submit_params_from_proto(request)
            else:
                inputs = PackedTexts()
                params = params_proto.submit_params_without_inputs(request, inputs)
                await read_inputs(request.inputs, inputs, self._fair_queue)
            return await self._submit(params, request.result_encoding, context)

    @handler
    async def SubmitRunStream(
        self, requests: AsyncIterator[runs_pb2.SubmitRunStreamRequest], context: Context
    ) -> runs_pb2.SubmitRunResponse:
        """Submit a run in parts."""
        with self._waits, Upload(self._limits, self._uploads, self._fair_queue) as upload:
            params, encoding = await upload.receive(requests)
            # To grpc, a call that is aborted looks like one whose client has closed its side, until something is sent:
            # then this call is cancelled.
            await context.send_initial_metadata(())
            return await self._submit(params, encoding, context)

    @handler
    async def GetRun(self, request: runs_pb2.GetRunRequest, context: Context) -> None:
        """Follow a run."""
        with self._waits if request.wait else self._calls:
            params = params_proto.get_params_from_proto(request)
            encoding = request.result_encoding
            with self._service.follower(params, deadline=deadline(context)) as follower:
                while (update := await follower.next()) is not None:
                    for message in self._messages.of(update, encoding):
                        await context.write(message)
                    del update, message  # They may hold a mebibyte each, and the next ones may be hours away.

    @handler
    async def WatchRuns(self, requests: AsyncIterator[runs_pb2.WatchRunsRequest], context: Context) -> None:
        """Follow many runs."""
        limits = self._limits
        with self._waits:
            stream = WatchStream(self._service, self._messages, context, runs=limits.runs, followed=self._followed)
            self._watch_streams.add(stream)
            try:
                await stream.serve(requests)
            finally:
                self._watch_streams.discard(stream)

    async def _submit(self, params: SubmitParams, encoding: Encoding, context: Context) -> runs_pb2.SubmitRunResponse:
        limit = self._limits.send
        status = await self._service.submit(params, deadline=deadline(context), max_results_text=limit)
        response = runs_pb2.SubmitRunResponse()
        omitted = params.wait and status.results is None
        for number, part in enumerate(parts(status, encoding)):
            if number == 0:
                status_proto.set_run_status(response.run, part, encoding)
            else:
                # In between others.
                await asyncio.sleep(0)
                response.run.results.extend(status_proto.run_status_to_proto(part, encoding).results)
            if response.ByteSize() > limit:
                omitted = True
                break
        if omitted:
            status = status.model_copy(update={"results": None})
            response = runs_pb2.SubmitRunResponse(run=status_proto.run_status_to_proto(status), results_omitted=True)
        return response
