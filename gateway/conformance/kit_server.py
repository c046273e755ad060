"""The server of the kit, at which a client under test is."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
from grpc import aio

from runs.v1 import runs_pb2

KitMethod: TypeAlias = "tuple[str, grpc.RpcMethodHandler[Any, Any]]"
"""A method of RunsService, with its name."""


def watch_runs_method(serve: Callable[..., Any]) -> KitMethod:
    """WatchRuns, which a function serves."""
    return "WatchRuns", grpc.stream_stream_rpc_method_handler(
        serve,
        request_deserializer=runs_pb2.WatchRunsRequest.FromString,
        response_serializer=runs_pb2.WatchRunsResponse.SerializeToString,
    )


@asynccontextmanager
async def serving(name: str, method: "grpc.RpcMethodHandler[Any, Any]") -> AsyncIterator[str]:
    """Serve one method of RunsService on a free port of this machine, and yield the address.

    All other methods are UNIMPLEMENTED.
    """
    server = aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("runs.v1.RunsService", {name: method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
