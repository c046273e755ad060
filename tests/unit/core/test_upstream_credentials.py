"""What servers get to see of the gateway, over HTTP and gRPC: its certificate and its token, as files have them now."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from grpc import aio

from gateway.bridge.engine import EngineTaskClient
from gateway.core.client_tls import ClientTls
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.server_tls import ClientAuth, ServerTls, ServerTlsFiles
from gateway.core.token_file import TokenFile
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.peers.http import tls_connector
from gateway.runtimes.jsonrpc.dialect import Dialect
from gateway.runtimes.jsonrpc.upstream import JsonRpcUpstream
from gateway.runtimes.stepflow.engine import EngineRequest, EngineRestClient
from stepflow.v1 import tasks_pb2
from tests.support.certificates import Certificates, MountedSecret, overwrite

HEALTH = EngineRequest("GET", "/health", 10.0, repeatable=True)


class NotingServer:
    """A server at an `https` URL that notes the token of each request, and the serial number of the certificate."""

    def __init__(self, directory: Path) -> None:
        self.authority = Certificates(directory)
        self.secret = MountedSecret(directory / "client", self.authority.client("first"))
        (directory / "token").write_text("abc")
        self.credentials = UpstreamCredentials(
            ClientTls(self.authority.ca, *self.secret.files), TokenFile(str(directory / "token"), look_seconds=0)
        )
        self.tokens: list[str | None] = []
        self.serials: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization"))
        assert request.transport is not None
        shown: dict[str, Any] = request.transport.get_extra_info("ssl_object").getpeercert()
        self.serials.append(shown["serialNumber"])
        called = (await request.json()).get("id") if request.can_read_body else None
        return web.json_response({"jsonrpc": "2.0", "id": called, "result": {}}, headers={"Connection": "close"})

    def context(self) -> ssl.SSLContext:
        files = ServerTlsFiles(*self.authority.server(), self.authority.ca, ClientAuth.REQUIRED)
        return ServerTls(files).context


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NotingServer]:
    noting = NotingServer(tmp_path)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", noting.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=noting.context())
    await site.start()
    noting.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield noting
    await runner.cleanup()


async def test_an_engine_over_https(server: NotingServer) -> None:
    engine = EngineRestClient(server.url, server.credentials)
    for _ in range(2):
        assert (await engine.request(HEALTH)).status == 200
    async with engine.events("/events") as response:
        assert response.status == 200
    await engine.close()
    assert server.tokens == ["Bearer abc"] * 3


async def test_a_json_rpc_server_over_https(server: NotingServer) -> None:
    upstream = JsonRpcUpstream(f"{server.url}/rpc", 0.0, Dialect.SUPERSET, server.credentials)
    await upstream.put_blob("{}", 10.0)
    await upstream.close()
    assert {*server.tokens} == {"Bearer abc"}


async def test_a_server_that_is_not_trusted_is_away(server: NotingServer) -> None:
    engine = EngineRestClient(server.url, NO_CREDENTIALS)
    with pytest.raises(Unavailable):
        await engine.request(HEALTH)
    await engine.close()
    upstream = JsonRpcUpstream(f"{server.url}/rpc", 0.0, Dialect.SUPERSET)
    with pytest.raises(GatewayError):
        await upstream.put_blob("{}", 10.0)
    await upstream.close()
    assert server.tokens == []


async def test_new_connections_show_a_new_certificate(
    server: NotingServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls_connector, "LOOK_SECONDS", 0.0)
    engine = EngineRestClient(server.url, server.credentials)
    request = HEALTH
    await engine.request(request)
    server.secret.swap(server.authority.client("second"))
    await engine.request(request)
    first, second = server.serials
    assert first != second
    overwrite(server.secret.files.key, server.authority.client("third").key)
    await engine.request(request)
    await engine.request(request)
    assert server.serials == [first, second, second, second]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    await engine.close()


async def test_the_tasks_of_an_engine_over_tls(server: NotingServer) -> None:
    class Tasks(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_unary_rpc_method_handler(self.answer)

        async def answer(self, request: bytes, context: Any) -> bytes:
            server.tokens.append(dict(context.invocation_metadata()).get("authorization"))
            return tasks_pb2.GetOrchestratorForRunResponse(orchestrator_service_url="a:1").SerializeToString()

    tls = server.authority.server()
    pair = (Path(tls.key).read_bytes(), Path(tls.cert).read_bytes())  # noqa: ASYNC240
    grpc_server = aio.server(handlers=[Tasks()])
    credentials = grpc.ssl_server_credentials([pair], server.credentials.tls.pem().roots, True)
    port = grpc_server.add_secure_port("127.0.0.1:0", credentials)
    await grpc_server.start()
    client = EngineTaskClient(f"https://127.0.0.1:{port}", "q", "w", server.credentials)
    assert await client.orchestrator_of("r") == "a:1"
    assert server.tokens == ["Bearer abc"]
    await client.close()
    await grpc_server.stop(None)
