"""A gRPC proxy that spoils what a server says, in a way that a test chooses."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import grpc
from grpc import aio

from runs.v1 import runs_pb2

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Message: TypeAlias = Any
Answers: TypeAlias = AsyncGenerator[Message, None]


class Mutation:
    """What a proxy does to the calls of one method. By itself it changes nothing.

    `requests` are changed on their way to the server, and `answers` on their way back; what `failed` returns in place
    of an error is what the call ends with.
    """

    method = "GetRun"
    keeps_deadline = True

    def request(self, message: Message) -> Message | None:
        """What the server gets; None: nothing."""
        return message

    async def answers(self, request: Message, messages: Answers) -> Answers:
        """What the client gets."""
        async for message in messages:
            yield message

    def failed(self, error: aio.AioRpcError) -> grpc.StatusCode:
        """How a call ends that the server has ended with an error."""
        return error.code()


TYPES: dict[str, tuple[Any, Any]] = {
    "SubmitRun": (runs_pb2.SubmitRunRequest, runs_pb2.SubmitRunResponse),
    "GetRun": (runs_pb2.GetRunRequest, runs_pb2.GetRunResponse),
    "WatchRuns": (runs_pb2.WatchRunsRequest, runs_pb2.WatchRunsResponse),
}


class MutatingProxy(grpc.GenericRpcHandler):
    """Passes each call on to a server, as bytes; the calls of one method go through a mutation."""

    def __init__(self, target: str, mutation: Callable[[], Mutation] | None) -> None:
        self._channel = aio.insecure_channel(target, options=OPTIONS)
        self._mutation = mutation
        self.address = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["MutatingProxy"]:
        """Listen on a free port."""
        server = aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(0)
            await self._channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """Every method is a stream of bytes in both directions: on the wire they are all alike."""
        path = handler_call_details.method
        mutation = None if self._mutation is None else self._mutation()
        if mutation is None or path.rpartition("/")[2] != mutation.method:
            mutation = None

        async def call(requests: AsyncIterator[bytes], context: Any) -> AsyncGenerator[bytes, None]:
            answers = (
                self._spoiled(path, mutation, requests, context) if mutation else self._passed(path, requests, context)
            )
            try:
                async for answer in answers:
                    yield answer
            except aio.AioRpcError as error:
                code = error.code() if mutation is None else mutation.failed(error)
                if code is not grpc.StatusCode.OK:
                    await context.abort(code, error.details() or "", tuple(error.trailing_metadata() or ()))
            finally:
                await answers.aclose()

        return grpc.stream_stream_rpc_method_handler(call)

    async def _passed(
        self, path: str, requests: AsyncIterator[bytes], context: Any, *, deadline: bool = True
    ) -> AsyncGenerator[bytes, None]:
        remaining = context.time_remaining() if deadline else None
        call: Any = self._channel.stream_stream(path)(cast("Any", requests), timeout=remaining)
        try:
            async for answer in call:
                yield answer
        finally:
            call.cancel()

    async def _spoiled(
        self, path: str, mutation: Mutation, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncGenerator[bytes, None]:
        request_type, answer_type = TYPES[mutation.method]
        first = request_type()

        async def changed() -> AsyncGenerator[bytes, None]:
            async for data in requests:
                message = request_type.FromString(data)
                first.MergeFrom(message)
                if (message := mutation.request(message)) is not None:
                    yield message.SerializeToString()

        async def parsed() -> Answers:
            async for data in self._passed(path, changed(), context, deadline=mutation.keeps_deadline):
                yield answer_type.FromString(data)

        answers = mutation.answers(first, parsed())
        try:
            async for message in answers:
                yield message.SerializeToString()
        finally:
            await answers.aclose()
