"""A gRPC proxy before a Temporal server, as operators have: it refuses calls, asks for a token, and speaks TLS."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import grpc
from grpc import aio

from tests.support.certificates import Certificates

_OWN = ("grpc-", "user-agent", ":", "content-type")
"""How the names of metadata begin that each connection has of its own."""


class TemporalProxy(grpc.GenericRpcHandler):
    """Passes every call on to `target`, as bytes, but for those that it is to refuse."""

    def __init__(self, target: str) -> None:
        self.port = 0
        self.refused: dict[str, grpc.StatusCode] = {}
        """The status of calls that are refused, by the names of their methods."""
        self.tokens: Sequence[str] = ()
        """What `authorization` may say; anything without one."""
        self.calls: list[tuple[str, str]] = []
        """The methods that were called, each with its `authorization`."""
        self._called = asyncio.Condition()
        self._target = target
        self._channel: aio.Channel | None = None

    def runtime(self, namespace: str = "default", *, scheme: str = "temporal") -> str:
        """What `--runtime` calls a namespace behind it."""
        return f"{scheme}://127.0.0.1:{self.port}/{namespace}"

    async def called(self, method: str, number: int) -> None:
        """Wait until a method was called so often."""
        async with self._called:
            await self._called.wait_for(lambda: sum(name == method for name, _ in self.calls) >= number)

    @asynccontextmanager
    async def running(self, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Self]:
        """Listen on a free port, or on the one that it had."""
        server = aio.server()
        server.add_generic_rpc_handlers((self,))
        address = f"127.0.0.1:{self.port}"
        if credentials is None:
            self.port = server.add_insecure_port(address)
        else:
            self.port = server.add_secure_port(address, credentials)
        async with aio.insecure_channel(self._target) as self._channel:
            await server.start()
            try:
                yield self
            finally:
                await server.stop(None)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        method = handler_call_details.method

        async def serve(request: bytes, context: "aio.ServicerContext[bytes, bytes]") -> bytes:
            metadata = [
                (name, value) for name, value in context.invocation_metadata() or () if not name.startswith(_OWN)
            ]
            name, token = method.rpartition("/")[2], str(dict(metadata).get("authorization", ""))
            async with self._called:
                self.calls.append((name, token))
                self._called.notify_all()
            if self.tokens and token not in self.tokens:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who is there?")
            if name in self.refused:
                await context.abort(self.refused[name], "refused by the proxy")
            assert self._channel is not None
            passed: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(method)
            try:
                return await passed(request, metadata=metadata, timeout=context.time_remaining())
            except aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))

        return grpc.unary_unary_rpc_method_handler(serve)


def server_credentials(certificates: Certificates, *, asks: bool = True) -> grpc.ServerCredentials:
    """Those of a proxy that speaks TLS, and that `asks` for certificates of the same authority."""
    files = certificates.server()
    pair = (Path(files.key).read_bytes(), Path(files.cert).read_bytes())
    roots = Path(certificates.ca).read_bytes() if asks else None
    return grpc.ssl_server_credentials([pair], roots, require_client_auth=asks)
