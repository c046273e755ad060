"""Channels over TLS and with tokens, and what a server learns of the certificate of their client."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from gateway.access.presented import PeerCertificate
from gateway.core.client_tls import ClientTls
from gateway.core.token_file import TokenFile
from gateway.fronts.grpc.peer_certificate import peer_certificate
from gateway.peers.grpc.client_tls import open_blocking_channel, open_channel
from tests.support.certificates import Certificates

METHOD = "/tests.Service/Method"


def method_of(channel: Any) -> Any:
    return channel.unary_unary(METHOD)


class Echo(grpc.GenericRpcHandler):
    """Answers with the token of a call, and keeps the certificate of its client."""

    def __init__(self) -> None:
        self.certificate: PeerCertificate | None = None

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, context: Any) -> bytes:
        self.certificate = peer_certificate(context)
        return str(dict(context.invocation_metadata()).get("authorization")).encode()


class EchoServer:
    """A server over TLS that asks for certificates."""

    def __init__(self, directory: Path) -> None:
        self.authority = Certificates(directory)
        self.echo = Echo()
        files = self.authority.server()
        pair = (Path(files.key).read_bytes(), Path(files.cert).read_bytes())
        credentials = grpc.ssl_server_credentials([pair], Path(self.authority.ca).read_bytes(), True)
        self.server = aio.server(handlers=[self.echo])
        self.address = f"127.0.0.1:{self.server.add_secure_port('127.0.0.1:0', credentials)}"


@pytest.fixture
async def echo(tmp_path: Path) -> AsyncIterator[EchoServer]:
    running = EchoServer(tmp_path)
    await running.server.start()
    yield running
    await running.server.stop(None)


async def test_names_in_certificates_and_tokens(echo: EchoServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    token = TokenFile(str(tmp_path / "token"))
    spiffe = "spiffe://example.org/team/a"
    client, named = echo.authority.client, PeerCertificate
    cases = [
        (client("uri", spiffe, "a.example", common_name="cn"), named((spiffe,), ("a.example",), "cn")),
        (client("dns", "b.example", "c.example", common_name="d"), named((), ("b.example", "c.example"), "d")),
        (client("cn", common_name="Jöe"), named((), (), "Jöe")),
    ]
    for files, certificate in cases:
        tls = ClientTls(echo.authority.ca, *files)
        async with open_channel(echo.address, (), tls=tls, token=token) as channel:
            assert await method_of(channel)(b"", timeout=10) == b"Bearer abc"
        assert echo.echo.certificate == certificate


async def test_a_blocking_channel(echo: EchoServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    tls = ClientTls(echo.authority.ca, *echo.authority.client())

    def call() -> bytes:
        with open_blocking_channel(echo.address, (), tls=tls, token=TokenFile(str(tmp_path / "token"))) as channel:
            answer: bytes = method_of(channel)(b"", timeout=10, metadata=(("a", "b"),))
            return answer

    assert await asyncio.to_thread(call) == b"Bearer abc"


async def test_servers_of_another_authority_and_clients_without_certificate_are_refused(
    echo: EchoServer, tmp_path: Path
) -> None:
    other = Certificates(tmp_path, "other")
    files = echo.authority.client()
    for tls in (
        ClientTls(other.ca, *files),
        ClientTls(echo.authority.ca),
        ClientTls(echo.authority.ca, *other.client()),
    ):
        async with open_channel(echo.address, (), tls=tls) as channel:
            with pytest.raises(aio.AioRpcError) as refused:
                await method_of(channel)(b"", timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert echo.echo.certificate is None
