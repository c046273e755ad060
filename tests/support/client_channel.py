"""The other end of a channel of the blocking client, for tests that answer its calls themselves."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
import grpc_testing  # type: ignore[import-untyped]

from gateway.adapter.grpc_status import to_status
from gateway.core.errors import GatewayError
from runs.v1 import blobs_pb2, runs_pb2

RUNS = runs_pb2.DESCRIPTOR.services_by_name["RunsService"]
BLOBS = blobs_pb2.DESCRIPTOR.services_by_name["BlobsService"]
OK = ((), grpc.StatusCode.OK, "")
"""How a call ends that has succeeded."""

CUT: tuple[object, grpc.StatusCode, str] = ((), grpc.StatusCode.UNAVAILABLE, "Socket closed")
"""How a call ends whose connection is lost."""

T = TypeVar("T")


def ending(error: GatewayError) -> tuple[object, grpc.StatusCode, str]:
    """How a call ends that the gateway refuses."""
    code, text, details = to_status(error)
    return (("grpc-status-details-bin", details),), code, text


class ChannelServer:
    """The other end of the channel."""

    def __init__(self) -> None:
        self.channel = grpc_testing.channel([RUNS, BLOBS], grpc_testing.strict_real_time())
        self._thread = ThreadPoolExecutor(1)

    def call(self, call: Callable[[], T]) -> "Future[T]":
        """Let the client do something meanwhile."""
        return self._thread.submit(call)

    def unary(self, name: str) -> Any:
        """Take a call with one request."""
        service = BLOBS if name == "PutBlob" else RUNS
        _, request, rpc = self.channel.take_unary_unary(service.methods_by_name[name])
        return request, rpc

    def stream(self, name: str = "GetRun") -> Any:
        """Take a call with one request and many answers."""
        _, request, rpc = self.channel.take_unary_stream(RUNS.methods_by_name[name])
        return request, rpc

    def watch(self, length: int = 1) -> Any:
        """Take a WatchRuns, and its requests, which are so many."""
        _, rpc = self.channel.take_stream_stream(RUNS.methods_by_name["WatchRuns"])
        requests = [rpc.take_request() for _ in range(length)]
        rpc.requests_closed()
        return requests, rpc

    def close(self) -> None:
        self._thread.shutdown()
