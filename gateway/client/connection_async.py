"""The input and output of the client for asyncio, on grpc.aio."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar, cast

import grpc
from grpc import aio

from gateway.client import requests
from gateway.client.channels import CHANNEL_OPTIONS
from gateway.client.failure import UploadFailed, failure, silence
from gateway.client.payload import text_of
from gateway.client.security import Security, open_aio
from gateway.core.errors import GatewayError
from gateway.core.model import JsonText, SubmitParams
from gateway.peers.grpc.channel import DETAILS_TRAILER
from gateway.peers.grpc.upload import UploadParts, UploadSender
from runs.v1 import blobs_pb2_grpc, runs_pb2, runs_pb2_grpc

A = TypeVar("A")
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class AsyncResponses(Protocol[M_co]):
    """A call with many responses."""

    def read(self) -> Awaitable[Any]: ...

    def cancel(self) -> bool: ...


class AsyncConnection:
    """A channel, and the services at its other end."""

    def __init__(self, target: str | aio.Channel, security: Security) -> None:
        self._own = isinstance(target, str)
        self._address = security.address
        self._channel = open_aio(security, CHANNEL_OPTIONS) if isinstance(target, str) else target
        channel = security.around(self._channel)
        self.runs = runs_pb2_grpc.RunsServiceStub(channel)
        self.blobs = blobs_pb2_grpc.BlobsServiceStub(channel)
        self.dead = False
        """Whether a stream on it has been silent for too long: no other call may use it."""

    async def close(self) -> None:
        """Close the channel, unless it was given by the user."""
        if self._own:
            await self._channel.close()

    async def answer(self, call: "Callable[[AsyncConnection, float | None], Awaitable[A]]", seconds: float | None) -> A:
        """Return the answer of a call that may take so many seconds.

        Raises GatewayError if the call fails, and TimeoutError if its time has passed.
        """
        return await self._received(call(self, seconds))

    async def messages(
        self, call: AsyncResponses[M], read_timeout: Callable[[], float | None]
    ) -> AsyncGenerator[M, None]:
        """Yield the messages of a call, each of which may take `read_timeout` seconds.

        Raises GatewayError if the call is cut or silent for longer, and TimeoutError if its time has passed.
        """
        try:
            while True:
                seconds = read_timeout()
                try:
                    async with asyncio.timeout(seconds) as limit:
                        message = await self._received(call.read())
                except TimeoutError:
                    if seconds is None or not limit.expired():
                        raise
                    self.dead = True
                    raise silence(self._address, seconds) from None
                if message is aio.EOF:
                    return
                yield cast("M", message)
        finally:
            call.cancel()

    async def upload(
        self,
        params: SubmitParams,
        inputs: Iterable[object] | AsyncIterable[object] | None,
        seconds: float | None,
    ) -> runs_pb2.SubmitRunResponse:
        """Submit a run whose inputs (None: those of `params`) are sent while they come.

        Raises UploadFailed if the call fails. If the inputs raise an error, the call is cancelled and the error raised.
        """
        call = self.runs.SubmitRunStream(timeout=seconds)
        try:
            await self._send(call, params, inputs, seconds)
            try:
                return await self._received(call)
            except (GatewayError, TimeoutError) as error:
                raise UploadFailed(error) from None
        finally:
            call.cancel()

    async def _send(
        self,
        call: "aio.StreamUnaryCall[runs_pb2.SubmitRunStreamRequest, runs_pb2.SubmitRunResponse]",
        params: SubmitParams,
        inputs: Iterable[object] | AsyncIterable[object] | None,
        seconds: float | None,
    ) -> None:
        """Send an upload, until the call has ended. Raises UploadFailed if the inputs take longer than it may."""
        upload = UploadSender(call)
        parts = UploadParts(requests.upload_head(params))
        try:
            async with asyncio.timeout(seconds) as limit, aclosing(_texts(params, inputs)) as texts:
                async for text in texts:
                    if (due := limit.when()) is not None and time.monotonic() >= due:
                        await asyncio.sleep(0)  # Here it ends, also if the inputs never wait.
                    if (part := parts.add(text)) is not None and not await upload.send(part):
                        return
                if await upload.send(parts.rest()):
                    await upload.finish()
        except TimeoutError:
            if not limit.expired():
                raise  # It is one of the inputs.
            raise UploadFailed(failure(self._address, grpc.StatusCode.DEADLINE_EXCEEDED, None, None)) from None

    async def _received(self, answering: Awaitable[A]) -> A:
        """Wait for an answer of the gateway; errors of gRPC become GatewayError or TimeoutError."""
        try:
            return await answering
        except aio.AioRpcError as error:
            details = error.trailing_metadata().get(DETAILS_TRAILER)
            raise failure(self._address, error.code(), error.details(), details) from None
        except asyncio.CancelledError:
            # gRPC raises this also when the call alone was cancelled: by the other side, or with its channel.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise failure(self._address, grpc.StatusCode.CANCELLED, None, None) from None


async def _texts(
    params: SubmitParams, inputs: Iterable[object] | AsyncIterable[object] | None
) -> AsyncGenerator[JsonText, None]:
    if isinstance(inputs, AsyncIterable):
        index = 0
        async for value in inputs:
            yield text_of(value, "inputs", index)
            index += 1
    else:
        for text in requests.texts_of(params, inputs):
            yield text
