"""A gRPC server that takes every call and answers none."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

LONG = 60.0
"""So many seconds pass only when a test fails."""


class Silence(grpc.GenericRpcHandler):
    """Takes every call, and keeps how many seconds it may take."""

    def __init__(self) -> None:
        self.address = ""
        self.limits: list[float | None] = []

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.stream_stream_rpc_method_handler(self._hold)

    def _hold(self, _: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self.limits.append(context.time_remaining())
        ended = threading.Event()
        if context.add_callback(ended.set):
            ended.wait(LONG)
        yield from ()


@contextmanager
def silent_server() -> Iterator[Silence]:
    """Serve at a free port until the block is left."""
    silence = Silence()
    server = grpc.server(ThreadPoolExecutor(4), handlers=[silence])
    silence.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield silence
    finally:
        server.stop(None).wait()
