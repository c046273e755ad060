"""A gRPC proxy that shortens the deadline of each call, as `max_stream_duration` of envoy does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio


class DeadlineProxy(grpc.GenericRpcHandler):
    """Passes every call on, as bytes, to be answered within `seconds`.

    `streams` counts the calls of GetRun, and `enough` is set by the call whose number is `wanted`.
    """

    def __init__(self, target: str, seconds: float, wanted: int = 0) -> None:
        self.address = ""
        self.streams = 0
        self.enough = asyncio.Event()
        self._wanted = wanted
        self._target = target
        self._seconds = seconds
        self._channel: aio.Channel | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["DeadlineProxy"]:
        """Listen on a free port."""
        server = aio.server()
        server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        async with aio.insecure_channel(self._target) as self._channel:
            await server.start()
            try:
                yield self
            finally:
                await server.stop(None)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        method = handler_call_details.method
        self.streams += method.endswith("/GetRun")
        if self.streams == self._wanted:
            self.enough.set()

        async def serve(requests: AsyncIterator[bytes], context: "aio.ServicerContext[bytes, bytes]") -> None:
            assert self._channel is not None
            passed: aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(method)
            call = passed(requests, timeout=self._seconds)
            try:
                async for response in call:
                    await context.write(response)
            except aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
            finally:
                call.cancel()

        return grpc.stream_stream_rpc_method_handler(serve)
