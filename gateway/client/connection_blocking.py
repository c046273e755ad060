"""The input and output of the blocking client."""

import threading
from collections.abc import Callable, Generator, Iterable
from itertools import takewhile
from typing import Protocol, TypeVar, cast

import grpc

from gateway.client import requests
from gateway.client.channels import CHANNEL_OPTIONS
from gateway.client.failure import UploadFailed, failure, silence
from gateway.client.interruptible import Interruptible
from gateway.client.security import Security, open_blocking
from gateway.client.upload import Pipe
from gateway.client.watchdog import Watchdog
from gateway.core.errors import GatewayError
from gateway.core.internal_errors import release_frames
from gateway.core.model import SubmitParams
from gateway.peers.grpc.channel import DETAILS_TRAILER
from gateway.peers.grpc.upload import upload_parts
from runs.v1 import blobs_pb2_grpc, runs_pb2, runs_pb2_grpc

CLOSE_SECONDS = 5.0
"""Seconds that a channel may take to close."""

A = TypeVar("A")
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class Responses(Protocol[M_co]):
    """A call with many responses."""

    def __next__(self) -> M_co: ...

    def cancel(self) -> bool: ...


class Connection:
    """A channel, and the services at its other end."""

    def __init__(self, target: str | grpc.Channel, security: Security) -> None:
        self._own = isinstance(target, str)
        self._address = security.address
        self._channel = open_blocking(security, CHANNEL_OPTIONS) if isinstance(target, str) else target
        channel = security.around(self._channel)
        self.runs = runs_pb2_grpc.RunsServiceStub(channel)
        self.blobs = blobs_pb2_grpc.BlobsServiceStub(channel)
        self.dead = False
        """Whether a stream on it has been silent for too long: no other call may use it."""

    def close(self) -> None:
        """Close the channel, unless it was given by the user.

        grpc waits there, without a limit, for its calls to end. After a KeyboardInterrupt they may never do so: the
        interrupt may have left a lock of grpc taken. So a thread closes the channel, which is given up in the end.
        """
        if self._own:
            closing = threading.Thread(target=self._channel.close, name="runs-client-close", daemon=True)
            closing.start()
            closing.join(CLOSE_SECONDS)

    def answer(self, call: "Callable[[Connection, float | None], A]", seconds: float | None) -> A:
        """Return the answer of a call that may take so many seconds.

        Raises GatewayError if the call fails, and TimeoutError if its time has passed.
        """
        try:
            return call(self, seconds)
        except grpc.RpcError as error:
            raise self._failure(error) from None

    def messages(self, call: Responses[M], read_timeout: Callable[[], float | None]) -> Generator[M, None, None]:
        """Yield the messages of a call, each of which may take `read_timeout` seconds.

        Raises GatewayError if the call is cut or silent for longer, and TimeoutError if its time has passed.
        """
        seconds: float | None = None
        with Watchdog(call.cancel) as watchdog:
            try:
                while True:
                    seconds = read_timeout()
                    with Interruptible(call.cancel), watchdog.expecting(seconds):
                        message = next(call, None)
                    if message is None:
                        return
                    yield message
            except grpc.RpcError as error:
                if not watchdog.expired:
                    raise self._failure(error) from None
                release_frames(error)
                self.dead = True
                raise silence(self._address, seconds or 0) from None
            finally:
                call.cancel()

    def upload(
        self, params: SubmitParams, inputs: Iterable[object] | None, seconds: float | None
    ) -> runs_pb2.SubmitRunResponse:
        """Submit a run whose inputs (None: those of `params`) are sent while they come.

        Raises UploadFailed if the call fails. If the inputs raise an error, the call is cancelled and the error raised.
        """
        pipe = Pipe[runs_pb2.SubmitRunStreamRequest]()
        call = self.runs.SubmitRunStream.future(pipe, timeout=seconds)
        try:
            call.add_done_callback(lambda _: pipe.close())
            # A call that has ended takes no more, and inputs that come slowly need not fill a part first.
            texts = takewhile(lambda _: not pipe.closed, requests.texts_of(params, inputs))
            parts = upload_parts(requests.upload_head(params), texts)
            # Its result says why it has ended.
            all(pipe.put(part) for part in parts)
            pipe.close()
            try:
                return call.result()
            except grpc.RpcError as error:
                raise UploadFailed(self._failure(error)) from None
        except BaseException:
            # Before the pipe is closed: an upload whose end has come is one that counts.
            call.cancel()
            raise
        finally:
            pipe.close()

    def _failure(self, error: grpc.RpcError) -> GatewayError | TimeoutError:
        release_frames(error)  # The error is the call, which the frames hold.
        call = cast("grpc.Call", error)
        details = next((value for key, value in call.trailing_metadata() or () if key == DETAILS_TRAILER), None)
        return failure(self._address, call.code(), call.details(), details)
