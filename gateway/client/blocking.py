"""The blocking client."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Protocol, TypeVar, Unpack, cast

import grpc

from gateway.adapter import proto
from gateway.client import requests
from gateway.client.channels import CHANNEL_OPTIONS, Channels
from gateway.client.failure import DETAILS, failure, silence
from gateway.client.following import Fold, Follower, Following, FollowingMany, RunEvent, Unseen
from gateway.client.outage import Outage, until_after
from gateway.client.payload import Json, flow_text
from gateway.client.requests import HEARTBEAT_INTERVAL, RunWatch, SubmitOptions
from gateway.client.status import ItemResult, RunStatus, RunUpdate, submitted
from gateway.client.upload import Pipe
from gateway.client.watchdog import Watchdog
from gateway.core.errors import GatewayError
from gateway.core.model import Blob, BlobType, ResultOrder, SubmitParams
from runs.v1 import blobs_pb2_grpc, runs_pb2, runs_pb2_grpc

A = TypeVar("A")
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)
E = TypeVar("E")


class RunsClient:
    """A client of the gateway at `target`: `HOST:PORT`, `unix:/PATH`, or a channel of yours, and yours to close.

    Every method raises the errors of this package: InvalidParams, NotFound and others say what is wrong with a call;
    Unavailable, that the gateway could not be reached for `retry_for` seconds (0: it is called once; None: for ever).
    Until then, calls are repeated, with pauses that grow; none has an effect twice.

    `timeout` bounds each call that does not wait for a run, repetitions included, in seconds; None: no bound. When it
    has passed, the call raises TimeoutError. `credentials` are those of TLS, if it is in use.

    May be shared by threads. Use it as a context, or close it.
    """

    def __init__(
        self,
        target: str | grpc.Channel,
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
                return _Connection(grpc.insecure_channel(target, CHANNEL_OPTIONS), own=True)
            return _Connection(grpc.secure_channel(target, credentials, CHANNEL_OPTIONS), own=True)

        self._connections = Channels(connect)

    def __enter__(self) -> "RunsClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls that are open fail."""
        for connection in self._connections.close():
            connection.close()

    def put_flow(self, flow: str | bytes | Json | Mapping[str, Any], *, timeout: float | None = None) -> str:
        """Store a flow and return its id: JSON text, kept as it stands, or an object. InvalidFlow if it is none."""
        request = proto.blob_to_put_request(Blob(flow_text(flow), BlobType.FLOW))
        return self._call(lambda to, seconds: to.blobs.PutBlob(request, timeout=seconds), timeout).blob_id

    def submit(
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
            return self._submit_in_parts(params, params.inputs, timeout)
        request = proto.submit_params_to_proto(params)
        return submitted(self._call(lambda to, seconds: to.runs.SubmitRun(request, timeout=seconds), timeout))

    def submit_stream(
        self,
        flow_id: str,
        inputs: Iterable[object],
        *,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> RunStatus:
        """Submit a run whose inputs are sent while they are made, so that they need not be in memory together.

        Nothing executes before the last one; when `inputs` raises, nothing is left behind. Inputs that can be iterated
        again (a list, an object whose `__iter__` begins anew) are sent again when the connection fails. An iterator
        cannot: answer Unavailable, then, with a call that has new inputs and the same idempotency key.

        `timeout` is that of the whole call; None: no bound.
        """
        params = requests.submit_params(flow_id, (), **options)
        return self._submit_in_parts(params, inputs, timeout, bounded=False)

    def submit_and_wait(
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
        run_id = self.submit(flow_id, inputs, **options).run_id
        remaining = None if until is None else max(0.0, until - time.monotonic())
        return self.wait(run_id, include_results=True, order=order, timeout=remaining)

    def get(
        self,
        run_id: str,
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
    ) -> RunStatus:
        """Return the status of a run, with the results of the items that have finished, if they are asked for."""
        params = requests.get_params(run_id, include_results=include_results, result_order=order)
        return self._folded(Following(params, self._outage(timeout)))

    def wait(
        self,
        run_id: str,
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
    ) -> RunStatus:
        """Return the status of a run when it has finished, or when `timeout` seconds have passed."""
        params = requests.wait_params(run_id, include_results=include_results, order=order, timeout=timeout)
        return self._folded(Following(params, self._waiting_outage()))

    def watch(
        self,
        run_id: str,
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        heartbeat_interval: float = HEARTBEAT_INTERVAL,
        timeout: float | None = None,
        resume_token: bytes = b"",
    ) -> Generator[RunUpdate, None, None]:
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
    ) -> Generator[ItemResult, None, None]:
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
    ) -> Generator[tuple[str, RunEvent], None, None]:
        """Follow many runs on one stream: yield the id of a run with an update of it, as `watch` does.

        RunEnded comes after the last update of each run; a GatewayError in its place says why a run cannot be followed.
        It is not raised, and the other runs go on. The options are those of runs that are given by id alone.
        """
        params = requests.many_params(runs, include_results, order, heartbeat_interval, timeout)
        many = FollowingMany(params, self._waiting_outage)
        return self._follow(many, lambda to: to.runs.WatchRuns(iter(many.requests())))

    def _folded(self, following: Following) -> RunStatus:
        fold = Fold()
        with closing(self._follow_one(following)) as updates:
            for update in updates:
                fold.add(update)
        return fold.status()

    def _results(self, following: Following) -> Generator[ItemResult, None, None]:
        unseen = Unseen()
        with closing(self._follow_one(following)) as updates:
            for update in updates:
                yield from unseen.of(update)

    def _follow_one(self, following: Following) -> Generator[RunUpdate, None, None]:
        return self._follow(following, lambda to: to.runs.GetRun(following.request(), timeout=following.deadline()))

    def _follow(self, follower: Follower[M, E], start: "Callable[[_Connection], _Call[M]]") -> Generator[E, None, None]:
        while True:
            try:
                with closing(self._messages(follower, start)) as messages:
                    for message in messages:
                        if (event := follower.received(message)) is not None:
                            yield event
                pause = follower.ended(None)
            except (GatewayError, TimeoutError) as error:
                pause = follower.ended(error)
            if pause is None:
                return
            time.sleep(pause)

    def _messages(
        self, follower: Follower[M, E], start: "Callable[[_Connection], _Call[M]]"
    ) -> Generator[M, None, None]:
        """The messages of one stream. GatewayError when it is cut, or silent for too long."""
        with self._connection() as connection:
            call = start(connection)
            patience: float | None = None
            with Watchdog(call.cancel) as watchdog:
                try:
                    while True:
                        patience = follower.patience()
                        with watchdog.expecting(patience):
                            message = next(call, None)
                        if message is None:
                            return
                        yield message
                except grpc.RpcError as error:
                    if not watchdog.expired:
                        raise self._failure(error) from None
                    connection.dead = True
                    raise silence(self._address, patience or 0) from None
                finally:
                    call.cancel()

    def _call(self, call: "Callable[[_Connection, float | None], A]", timeout: float | None) -> A:
        """Make a call that may be repeated."""
        outage = self._outage(timeout)
        while True:
            try:
                with self._connection() as connection:
                    return call(connection, outage.remaining())
            except grpc.RpcError as error:
                pause = outage.pause(self._failure(error))
            time.sleep(pause)

    def _submit_in_parts(
        self, params: SubmitParams, inputs: Iterable[object], timeout: float | None, *, bounded: bool = True
    ) -> RunStatus:
        # What is text already is not to be made text once more.
        known = inputs is params.inputs
        repeatable = not isinstance(inputs, Iterator)
        outage = self._outage(timeout) if bounded else Outage(self._retry_for, until_after(timeout))
        while True:
            texts = iter(params.inputs) if known else requests.input_texts(inputs)
            try:
                with self._connection() as connection:
                    parts = requests.in_parts(params, texts)
                    return submitted(_upload(connection, parts, outage.remaining()))
            except grpc.RpcError as error:
                what = self._failure(error)
            if not repeatable:
                raise what
            time.sleep(outage.pause(what))

    def _outage(self, timeout: float | None) -> Outage:
        return Outage(self._retry_for, until_after(self._timeout if timeout is None else timeout))

    def _waiting_outage(self) -> Outage:
        return Outage(self._retry_for)

    @contextmanager
    def _connection(self) -> "Iterator[_Connection]":
        connection = self._connections.take()
        try:
            yield connection
        finally:
            if self._connections.give_back(connection, dead=connection.dead):
                connection.close()

    def _failure(self, error: grpc.RpcError) -> GatewayError | TimeoutError:
        call = cast("grpc.Call", error)
        details = next((value for key, value in call.trailing_metadata() or () if key == DETAILS), None)
        return failure(self._address, call.code(), call.details(), details)


class _Connection:
    """A channel and the services at its other end."""

    def __init__(self, channel: grpc.Channel, *, own: bool) -> None:
        self.runs = runs_pb2_grpc.RunsServiceStub(channel)
        self.blobs = blobs_pb2_grpc.BlobsServiceStub(channel)
        self.dead = False
        self._channel = channel
        self._own = own

    def close(self) -> None:
        """Close the channel, if it is not somebody else's."""
        if self._own:
            self._channel.close()


class _Call(Protocol[M_co]):
    """A stream of responses."""

    def __next__(self) -> M_co: ...

    def cancel(self) -> bool: ...


def _upload(
    connection: _Connection, parts: Iterator[runs_pb2.SubmitRunStreamRequest], seconds: float | None
) -> runs_pb2.SubmitRunResponse:
    pipe = Pipe[runs_pb2.SubmitRunStreamRequest]()
    call = connection.runs.SubmitRunStream.future(pipe, timeout=seconds)
    try:
        call.add_done_callback(lambda _: pipe.close())
        # A call that has ended takes no more; its result says why.
        all(pipe.put(part) for part in parts)
        pipe.close()
        return call.result()
    except BaseException:
        # Before the pipe is closed: an upload whose end has come is one that counts.
        call.cancel()
        raise
    finally:
        pipe.close()
