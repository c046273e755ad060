# ruff: noqa: ASYNC109 - a timeout is a parameter of a run here: when it has passed, nothing is cancelled.
"""The client for asyncio: RunsClient, method by method, on grpc.aio."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol, TypeVar, Unpack, cast

import grpc
from grpc import aio

from gateway.adapter import proto
from gateway.client import requests
from gateway.client.channels import CHANNEL_OPTIONS, Channels
from gateway.client.failure import DETAILS, failure, silence
from gateway.client.following import Fold, Follower, Following, FollowingMany, RunEvent, Unseen
from gateway.client.outage import Outage, until_after
from gateway.client.payload import Json, flow_text, text_of
from gateway.client.requests import HEARTBEAT_INTERVAL, RunWatch, SubmitOptions
from gateway.client.status import ItemResult, RunStatus, RunUpdate, submitted
from gateway.core.errors import GatewayError
from gateway.core.model import Blob, BlobType, JsonText, ResultOrder, SubmitParams
from gateway.peers.grpc.upload import Sending
from runs.v1 import blobs_pb2_grpc, runs_pb2, runs_pb2_grpc

A = TypeVar("A")
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)
E = TypeVar("E")


class AsyncRunsClient:
    """A client of the gateway for asyncio; everything is as RunsClient tells.

    Make it where an event loop runs. Close iterators that you leave before their end (`contextlib.aclosing`).
    """

    def __init__(
        self,
        target: str | aio.Channel,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float | None = 60.0,
        retry_for: float | None = 60.0,
    ) -> None:
        self._address = target if isinstance(target, str) else "the other end of the channel"
        self._timeout = timeout
        self._retry_for = retry_for

        def connect() -> _Connection:
            if not isinstance(target, str):
                return _Connection(target, own=False)
            if credentials is None:
                return _Connection(aio.insecure_channel(target, CHANNEL_OPTIONS), own=True)
            return _Connection(aio.secure_channel(target, credentials, CHANNEL_OPTIONS), own=True)

        self._connections = Channels(connect)

    async def __aenter__(self) -> "AsyncRunsClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls that are open fail."""
        for connection in self._connections.close():
            await connection.close()

    async def put_flow(self, flow: str | bytes | Json | Mapping[str, Any], *, timeout: float | None = None) -> str:
        """Store a flow and return its id: JSON text, kept as it stands, or an object. InvalidFlow if it is none."""
        request = proto.blob_to_put_request(Blob(flow_text(flow), BlobType.FLOW))
        return (await self._call(lambda to, seconds: to.blobs.PutBlob(request, timeout=seconds), timeout)).blob_id

    async def submit(
        self,
        flow_id: str,
        inputs: Iterable[object],
        *,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> RunStatus:
        """Submit a run with one item for each input, and return its status; it goes on by itself.

        Inputs are Python values or Json. They may be of any number and size: many are sent in parts.
        """
        params = requests.submit_params(flow_id, inputs, **options)
        if not requests.fits(params):
            return await self._submit_in_parts(params, params.inputs, timeout)
        request = proto.submit_params_to_proto(params)
        return submitted(await self._call(lambda to, seconds: to.runs.SubmitRun(request, timeout=seconds), timeout))

    async def submit_stream(
        self,
        flow_id: str,
        inputs: Iterable[object] | AsyncIterable[object],
        *,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> RunStatus:
        """Submit a run whose inputs are sent while they are made, so that they need not be in memory together.

        Nothing executes before the last one; when `inputs` raises, nothing is left behind. Inputs that can be iterated
        again (a list, an object whose `__iter__` or `__aiter__` begins anew) are sent again when the connection fails.
        An iterator cannot: answer Unavailable, then, with a call that has new inputs and the same idempotency key.

        `timeout` is that of the whole call; None: no bound.
        """
        params = requests.submit_params(flow_id, (), **options)
        return await self._submit_in_parts(params, inputs, timeout, bounded=False)

    async def submit_and_wait(
        self,
        flow_id: str,
        inputs: Iterable[object],
        *,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> RunStatus:
        """Submit a run and return its status, with its results, when it has finished.

        When `timeout` seconds have passed, the status and results at that moment. Interruptions do no harm.
        """
        until = until_after(timeout)
        run_id = (await self.submit(flow_id, inputs, **options)).run_id
        remaining = None if until is None else max(0.0, until - time.monotonic())
        return await self.wait(run_id, include_results=True, order=order, timeout=remaining)

    async def get(
        self,
        run_id: str,
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
    ) -> RunStatus:
        """Return the status of a run, with the results of the items that have finished, if they are asked for."""
        params = requests.get_params(run_id, include_results=include_results, result_order=order)
        return await self._folded(Following(params, self._outage(timeout)))

    async def wait(
        self,
        run_id: str,
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
    ) -> RunStatus:
        """Return the status of a run when it has finished, or when `timeout` seconds have passed."""
        params = requests.wait_params(run_id, include_results=include_results, order=order, timeout=timeout)
        return await self._folded(Following(params, self._waiting_outage()))

    def watch(
        self,
        run_id: str,
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        heartbeat_interval: float = HEARTBEAT_INTERVAL,
        timeout: float | None = None,
        resume_token: bytes = b"",
    ) -> AsyncGenerator[RunUpdate, None]:
        """Yield the state of a run, then each change, until it has finished or `timeout` seconds have passed.

        A lost connection is made again, and the updates go on where they stopped: no result is lost, none comes twice,
        unless an update says `restarted`. States in between may be skipped, results never. `heartbeat_interval` is in
        seconds, at least 0.1: a connection on which nothing comes for three of them is given up and made again.

        `resume_token`: go on after the update that had it.
        """
        params = requests.wait_params(
            run_id,
            include_results=include_results,
            order=order,
            heartbeat_interval=heartbeat_interval,
            timeout=timeout,
            resume_token=resume_token,
        )
        return self._follow_one(Following(params, self._waiting_outage()))

    def results(
        self,
        run_id: str,
        *,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
    ) -> AsyncGenerator[ItemResult, None]:
        """Yield each result of a run once, as soon as its item has finished, or, by index, all items before it have.

        Ends when the run has finished or `timeout` seconds have passed.
        """
        params = requests.wait_params(run_id, include_results=True, order=order, timeout=timeout)
        return self._results(Following(params, self._waiting_outage()))

    def watch_many(
        self,
        runs: Iterable[str | RunWatch],
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        heartbeat_interval: float = HEARTBEAT_INTERVAL,
        timeout: float | None = None,
    ) -> AsyncGenerator[tuple[str, RunEvent], None]:
        """Follow many runs on one stream: yield the id of a run with an update of it, as `watch` does.

        RunEnded comes after the last update of each run; a GatewayError in its place says why a run cannot be followed.
        It is not raised, and the other runs go on. The options are those of runs that are given by id alone.
        """
        params = requests.many_params(runs, include_results, order, heartbeat_interval, timeout)
        many = FollowingMany(params, self._waiting_outage)
        return self._follow(many, lambda to: to.runs.WatchRuns(iter(many.requests())))

    async def _folded(self, following: Following) -> RunStatus:
        fold = Fold()
        async with aclosing(self._follow_one(following)) as updates:
            async for update in updates:
                fold.add(update)
        return fold.status()

    async def _results(self, following: Following) -> AsyncGenerator[ItemResult, None]:
        unseen = Unseen()
        async with aclosing(self._follow_one(following)) as updates:
            async for update in updates:
                for result in unseen.of(update):
                    yield result

    def _follow_one(self, following: Following) -> AsyncGenerator[RunUpdate, None]:
        return self._follow(following, lambda to: to.runs.GetRun(following.request(), timeout=following.deadline()))

    async def _follow(
        self, follower: Follower[M, E], start: "Callable[[_Connection], _Call[M]]"
    ) -> AsyncGenerator[E, None]:
        while True:
            try:
                async with aclosing(self._messages(follower, start)) as messages:
                    async for message in messages:
                        if (event := follower.received(message)) is not None:
                            yield event
                pause = follower.ended(None)
            except (GatewayError, TimeoutError) as error:
                pause = follower.ended(error)
            if pause is None:
                return
            await asyncio.sleep(pause)

    async def _messages(
        self, follower: Follower[M, E], start: "Callable[[_Connection], _Call[M]]"
    ) -> AsyncGenerator[M, None]:
        """The messages of one stream. GatewayError when it is cut, or silent for too long."""
        async with self._connection() as connection:
            call = start(connection)
            try:
                while True:
                    patience = follower.patience()
                    try:
                        async with asyncio.timeout(patience):
                            message = await self._answer(call.read())
                    except TimeoutError:
                        if patience is None:
                            raise
                        connection.dead = True
                        raise silence(self._address, patience) from None
                    if message is aio.EOF:
                        return
                    yield cast("M", message)
            finally:
                call.cancel()

    async def _call(self, call: "Callable[[_Connection, float | None], Awaitable[A]]", timeout: float | None) -> A:
        """Make a call that may be repeated."""
        outage = self._outage(timeout)
        while True:
            try:
                async with self._connection() as connection:
                    return await self._answer(call(connection, outage.remaining()))
            except (GatewayError, TimeoutError) as error:
                pause = outage.pause(error)
            await asyncio.sleep(pause)

    async def _submit_in_parts(
        self,
        params: SubmitParams,
        inputs: Iterable[object] | AsyncIterable[object],
        timeout: float | None,
        *,
        bounded: bool = True,
    ) -> RunStatus:
        repeatable = not isinstance(inputs, (Iterator, AsyncIterator))
        outage = self._outage(timeout) if bounded else Outage(self._retry_for, until_after(timeout))
        while True:
            # What is text already is not to be made text once more.
            texts = _each(params.inputs) if inputs is params.inputs else _texts(inputs)
            try:
                async with self._connection() as connection, aclosing(texts):
                    return submitted(await self._upload(connection, params, texts, outage.remaining()))
            except _UploadFailed as failed:
                what = failed.reason
            if not repeatable:
                raise what
            await asyncio.sleep(outage.pause(what))

    async def _upload(
        self,
        connection: "_Connection",
        params: SubmitParams,
        texts: AsyncIterator[JsonText],
        seconds: float | None,
    ) -> runs_pb2.SubmitRunResponse:
        """Send inputs while they come. _UploadFailed when the call fails; what the inputs raise ends it."""
        call = connection.runs.SubmitRunStream(timeout=seconds)
        sending = Sending(call)
        parts = requests.Parts(params)
        try:
            async for text in texts:
                if (part := parts.add(text)) is not None and not await sending.done(call.write(part)):
                    break
            else:
                if await sending.done(call.write(parts.rest())):
                    await sending.done(call.done_writing())
            try:
                return await self._answer(call)
            except (GatewayError, TimeoutError) as error:
                raise _UploadFailed(error) from None
        finally:
            call.cancel()

    async def _answer(self, answering: Awaitable[A]) -> A:
        """Wait for an answer of the gateway; how gRPC fails becomes GatewayError or TimeoutError."""
        try:
            return await answering
        except aio.AioRpcError as error:
            details = error.trailing_metadata().get(DETAILS)
            raise failure(self._address, error.code(), error.details(), details) from None
        except asyncio.CancelledError:
            # gRPC raises this also when the call alone was cancelled: by the other side, or with its channel.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise failure(self._address, grpc.StatusCode.CANCELLED, None, None) from None

    def _outage(self, timeout: float | None) -> Outage:
        return Outage(self._retry_for, until_after(self._timeout if timeout is None else timeout))

    def _waiting_outage(self) -> Outage:
        return Outage(self._retry_for)

    @asynccontextmanager
    async def _connection(self) -> "AsyncIterator[_Connection]":
        connection = self._connections.take()
        try:
            yield connection
        finally:
            if self._connections.give_back(connection, dead=connection.dead):
                await connection.close()


class _UploadFailed(Exception):
    """The call of an upload has failed, not the inputs."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


class _Connection:
    """A channel and the services at its other end."""

    def __init__(self, channel: aio.Channel, *, own: bool) -> None:
        self.runs = runs_pb2_grpc.RunsServiceStub(channel)
        self.blobs = blobs_pb2_grpc.BlobsServiceStub(channel)
        self.dead = False
        self._channel = channel
        self._own = own

    async def close(self) -> None:
        """Close the channel, if it is not somebody else's."""
        if self._own:
            await self._channel.close()


class _Call(Protocol[M_co]):
    """A stream of responses."""

    def read(self) -> Awaitable[Any]: ...

    def cancel(self) -> bool: ...


async def _texts(inputs: Iterable[object] | AsyncIterable[object]) -> AsyncGenerator[JsonText, None]:
    if not isinstance(inputs, AsyncIterable):
        for text in requests.input_texts(inputs):
            yield text
        return
    index = 0
    async for value in inputs:
        yield text_of(value, "inputs", index)
        index += 1


async def _each(texts: Iterable[JsonText]) -> AsyncGenerator[JsonText, None]:
    for text in texts:
        yield text
