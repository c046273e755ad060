"""The server of the kit, at which a client under test is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio


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
