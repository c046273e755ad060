# ruff: noqa: N802 - the contract names the methods.
"""The runs service: a handler translates, calls the service and translates back.

Messages of streams are written rather than yielded: grpc would leave a generator unclosed when the client leaves.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc import aio

from gateway.access.access import Access
from gateway.adapter import params_proto, status_proto
from gateway.adapter.long_messages import read_long_submit
from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.concurrency.stream_lives import StreamLives
from gateway.core.caller import ANYBODY, owned
from gateway.core.errors import Overloaded, shutting_down
from gateway.core.model import ItemResult, RunStatus, SubmitParams, canonical_run_id
from gateway.core.observed_params import joined
from gateway.core.packed_texts import PackedTexts
from gateway.core.runtime import text_sizes
from gateway.fronts.grpc.answer_form import VALUES_FACTOR, AnswerForm
from gateway.fronts.grpc.calls import CapacityLimiter, Context, answer_by, handler
from gateway.fronts.grpc.connections import BUILDING, COPIES, SMALL_MESSAGE, CallMemory, Connections
from gateway.fronts.grpc.control_servicer import ControlServicer
from gateway.fronts.grpc.inputs import SLICE_BYTES, SubmitOrBytes, read_inputs
from gateway.fronts.grpc.long_answers import LONG
from gateway.fronts.grpc.messages import UpdateMessages, parts
from gateway.fronts.grpc.observed_context import call_of
from gateway.fronts.grpc.request_length import InSlices
from gateway.fronts.grpc.server import GrpcLimits, add_methods
from gateway.fronts.grpc.submit_stream import INPUT_BYTES, Upload
from gateway.fronts.grpc.token_methods import TokenMethods
from gateway.fronts.grpc.watch_runs import WatchLimits, WatchStream
from gateway.runs.run_answer import RunAnswer
from gateway.runs.services import RunsServices
from runs.v1 import runs_pb2

SERVICE = runs_pb2.DESCRIPTOR.services_by_name["RunsService"].full_name

_SMALL_NUMBER = 16


class RunsServicer:
    """Submits runs and follows them; what ends and lists them is a servicer of its own.

    `calls` counts the calls that wait for nothing, `waits` all others. `lives` ends streams.
    """

    def __init__(
        self,
        services: RunsServices,
        calls: CapacityLimiter,
        waits: CapacityLimiter,
        connections: Connections,
        limits: GrpcLimits,
        *,
        access: Access,
        lives: StreamLives | None = None,
    ) -> None:
        self._lives = lives or StreamLives()
        self._services = services
        self._calls = calls
        self._waits = waits
        self._connections = connections
        self._limits = limits
        self._access = access
        self._tokens = TokenMethods(access, calls, connections)
        self._control = ControlServicer(services, calls, waits, connections, limits.send, access=access)
        followed, followed_sets = (limits.followed, "followed runs"), (limits.followed_sets, "followed sets")
        self._watch_limits = WatchLimits(
            limits.runs, CapacityLimiter(*followed), limits.sets, CapacityLimiter(*followed_sets)
        )
        self._messages = UpdateMessages(limits.send)
        self._fair_queue = FairQueue()
        self._watch_streams: set[WatchStream] = set()

    def add_to(self, server: aio.Server) -> None:
        """Let a server answer the methods. They serialize their answers: many calls share one, or it is large."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "SubmitRun": grpc.unary_unary_rpc_method_handler(
                self.SubmitRun,
                request_deserializer=InSlices(runs_pb2.SubmitRunRequest.FromString),
                response_serializer=bytes,
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
                request_deserializer=bytes,
                response_serializer=bytes,
            ),
            **self._control.handlers(),
            **self._tokens.handlers(),
        }
        add_methods(server, SERVICE, handlers)

    def stop(self) -> None:
        """End the streams that would not end by themselves."""
        for stream in self._watch_streams:
            stream.end()

    @handler
    async def SubmitRun(self, request: SubmitOrBytes, context: Context) -> bytes:
        """Submit a run."""
        if isinstance(request, bytes):
            submitting = self._submit_long(request, context)
            del request
            return await submitting
        with self._waits if request.wait else self._calls:
            if request.ByteSize() <= SLICE_BYTES:
                params = params_proto.submit_params_from_proto(request)
            else:
                self._connections.of(context).grow(INPUT_BYTES * len(request.inputs))
                inputs = PackedTexts()
                params = params_proto.submit_params_without_inputs(request, inputs)
                await read_inputs(request.inputs, inputs, self._fair_queue)
                del inputs
            if (limits := self._access.limits).limited:
                limits.items(self._connections.of(context).caller, len(params.inputs))
            submitting = self._submit(params, AnswerForm.of(request), context)
            del request, params
            return await submitting

    async def _submit_long(self, data: bytes, context: Context) -> bytes:
        with self._calls:
            params, message = await read_long_submit(data, FairSlices(self._fair_queue).checkpoint)
            del data
        self._access.limits.items(self._connections.of(context).caller, len(params.inputs))
        with self._waits if params.wait else self._calls:
            submitting = self._submit(params, AnswerForm.of(message), context)
            del params, message
            return await submitting

    @handler
    async def SubmitRunStream(self, _: AsyncIterator[bytes], context: Context) -> bytes:
        """Submit a run in parts."""
        with self._waits:
            upload = Upload(self._limits, self._connections, context, self._fair_queue, self._access.limits)
            params, form = await upload.receive()
            del upload
            # To grpc, a call that is aborted looks like one whose client has closed its side, until something is sent:
            # then this call is cancelled.
            await context.send_initial_metadata(())
            submitting = self._submit(params, form, context)
            del params
            return await submitting

    @handler
    async def GetRun(self, request: runs_pb2.GetRunRequest, context: Context) -> None:
        """Follow a run."""
        with self._waits if request.wait else self._calls:
            call = call_of(context)
            params = joined(call, params_proto.get_params_from_proto(request))
            call.run_id = canonical_run_id(params.run_id) or ""
            if params.resume_token:
                call.resumes()
            form = AnswerForm.of(request)
            caller = self._connections.of(context).caller
            service = self._services.of(caller.view)
            with (
                self._access.limits.followed(caller, 1),
                service.follower(params, answer_by=answer_by(context), counted=call.method.told) as follower,
                self._lives.begin(follower.end, lasts=request.wait) as life,
            ):
                while not life.over and (update := await follower.next()) is not None:
                    for message in self._messages.of(update, form.encoding):
                        if message is None:
                            await self._fair_queue.yield_turn()
                        elif len(message) <= SMALL_MESSAGE:
                            await context.write(message)
                        else:
                            form.refuse_larger(len(message))
                            await self._connections.write(context, message)
                    del update, message  # They may hold a mebibyte each, and the next ones may be hours away.
                life.check()

    @handler
    async def WatchRuns(self, requests: AsyncIterator[runs_pb2.WatchRunsRequest], context: Context) -> None:
        """Follow many runs."""
        with self._waits:
            caller = self._connections.of(context).caller
            service = self._services.of(caller.view)
            followed = self._access.limits.followed(caller)
            limits = self._watch_limits.within(followed)
            stream = WatchStream(service, self._messages, self._connections, context, limits)
            with followed, self._lives.begin(stream.end) as life:
                self._watch_streams.add(stream)
                try:
                    await stream.serve(requests)
                finally:
                    self._watch_streams.discard(stream)
                life.check()
                if stream.ended:
                    raise shutting_down()

    async def _submit(self, params: SubmitParams, form: AnswerForm, context: Context) -> bytes:
        """The serialized answer. Its results are left out if they are too large, or if there is no room for them."""
        memory = self._connections.of(context)
        caller = memory.caller
        with self._access.audit.entry(caller, "grpc", "SubmitRun", memory.peer) as entry:
            if caller is not ANYBODY:
                params = owned(params, caller)
            call = call_of(context)
            params = joined(call, params)
            service = self._services.of(caller.view)
            opening = service.open_submit(params, answer_by=answer_by(context), accepted=memory.release)
            del params
            run = await opening
            call.run_id = run.status.run_id
            entry.names(call.run_id)
        results = () if run.results is None else run.results.at_hand
        if results is None or not _are_small(results):
            return await self._long_answer(run, form, memory)
        # Its length is not asked for: that takes as long as to serialize it.
        answer = _response(run.status, results, form).SerializeToString()
        if len(answer) > SMALL_MESSAGE:
            memory.grow(COPIES * len(answer))
        return answer

    async def _long_answer(self, run: RunAnswer, form: AnswerForm, memory: CallMemory) -> bytes:
        results = await self._collected(run, form, memory)
        answer = await self._answer(run.status, results, form, omitted=run.results is not None and results is None)
        del results
        if (size := COPIES * len(answer)) > COPIES * LONG:
            try:
                await self._connections.begin_long(memory, size)
            except Overloaded:
                answer = _response(run.status, (), form, omitted=True).SerializeToString()
            else:
                await self._connections.long_turn()
        memory.release()
        if len(answer) > SMALL_MESSAGE:
            memory.grow(COPIES * len(answer))
        return answer

    async def _collected(self, run: RunAnswer, form: AnswerForm, memory: CallMemory) -> list[ItemResult] | None:
        """The results of a run; None if it comes without, or if they do not fit."""
        if run.results is None:
            return None
        factor = VALUES_FACTOR if form.encoding == runs_pb2.RESULT_ENCODING_VALUE else BUILDING
        results: list[ItemResult] = []
        size = held = 0
        try:
            while not run.results.ended:
                page = await run.results.next()
                size += text_sizes(page)
                if size > min(form.limit, self._limits.send):
                    return None
                if size > SMALL_MESSAGE:
                    memory.grow(factor * (size - held))
                    held = size
                results += page
        except Overloaded:
            return None
        return results

    async def _answer(
        self, status: RunStatus, results: list[ItemResult] | None, form: AnswerForm, *, omitted: bool
    ) -> bytes:
        response = _response(status, (), form, omitted=omitted)
        for part in parts(results or [], form.encoding):
            status_proto.add_results(response.run, part, form.encoding)
            if response.ByteSize() > min(form.limit, self._limits.send):
                return _response(status, (), form, omitted=True).SerializeToString()
            await asyncio.sleep(0)
        if response.ByteSize() > LONG:
            await self._connections.long_turn()
        return response.SerializeToString()


def _response(
    status: RunStatus, results: Sequence[ItemResult], form: AnswerForm, *, omitted: bool = False
) -> runs_pb2.SubmitRunResponse:
    response = runs_pb2.SubmitRunResponse()
    if omitted:
        response.results_omitted = True
    status_proto.set_run_status(response.run, status, form.encoding)
    status_proto.add_results(response.run, results, form.encoding)
    return response


def _are_small(results: Sequence[ItemResult]) -> bool:
    return len(results) <= _SMALL_NUMBER and text_sizes(results) <= SMALL_MESSAGE
