"""The gRPC front over TLS: what is let in, what is kept out, and new certificates for new connections."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.access.access import OpenAccess
from gateway.access.presented import PeerCertificate, Presented
from gateway.core.caller import Caller
from gateway.core.client_tls import ClientTls
from gateway.core.server_tls import ClientAuth, ServerTls, ServerTlsFiles
from gateway.fronts.grpc import GrpcFront
from gateway.peers.grpc.client_tls import open_channel
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from runs.v1 import runs_pb2, runs_pb2_grpc
from tests.support.certificates import Certificates, MountedSecret, overwrite
from tests.support.scripted_runtime import ScriptedRuntime
from tests.support.tls_checks import ALL_REFUSED, refused_certificates, strengths, weaknesses


class NotedAccess(OpenAccess):
    """Lets everybody in, and keeps what was presented last."""

    presented: Presented | None = None

    def known(self, presented: Presented) -> Caller:
        self.presented = presented
        return super().known(presented)


class ServedByGrpc:
    """A front over TLS, with the authority of its certificate."""

    def __init__(self, directory: Path) -> None:
        self.authority = Certificates(directory)
        self.secret = MountedSecret(directory / "mounted", self.authority.server())
        self.trust = ClientTls(self.authority.ca)
        self.access = NotedAccess()

    @asynccontextmanager
    async def running(self, auth: ClientAuth = ClientAuth.NONE, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
        ca = None if auth is ClientAuth.NONE else self.authority.ca
        self.tls = ServerTls(ServerTlsFiles(*self.secret.files, ca, auth))
        service = RunsService(ScriptedRuntime(), grace=0)
        front = GrpcFront(RunsServices(service), address, access=self.access, tls=self.tls)
        await front.start()
        try:
            yield front.address
        finally:
            await front.stop(0)
            await service.close()


@pytest.fixture
def served(tmp_path: Path) -> ServedByGrpc:
    return ServedByGrpc(tmp_path)


@asynccontextmanager
async def connected(address: str, tls: ClientTls | None) -> AsyncIterator[Any]:
    async with open_channel(address, (), tls=tls) as channel:
        yield runs_pb2_grpc.RunsServiceStub(channel)


async def test_versions_and_suites(served: ServedByGrpc) -> None:
    async with served.running() as address:
        assert await weaknesses(address, served.trust, "h2") == []
        assert await strengths(address, served.trust, "h2") == [("TLSv1.2", "h2"), ("TLSv1.3", "h2")]


async def test_certificates_of_clients(served: ServedByGrpc, tmp_path: Path) -> None:
    good = served.authority.client("good", "spiffe://example.org/a", "a.example", common_name="a")
    async with served.running(ClientAuth.REQUIRED) as address:
        async with connected(address, ClientTls(served.authority.ca, *good)) as runs:
            await runs.ListRuns(runs_pb2.ListRunsRequest(), timeout=20)
            assert served.access.presented == Presented(
                certificate=PeerCertificate(("spiffe://example.org/a",), ("a.example",), "a")
            )
        refused = await refused_certificates(address, served.authority, Certificates(tmp_path, "other"), "h2")
        assert refused == ALL_REFUSED


async def test_without_certificates_nothing_is_asked_of_the_connection(served: ServedByGrpc) -> None:
    async with served.running() as address, connected(address, served.trust) as runs:
        await runs.ListRuns(runs_pb2.ListRunsRequest(), timeout=20)
        assert served.access.presented == Presented()


async def test_a_new_certificate_is_for_new_connections(served: ServedByGrpc, tmp_path: Path) -> None:
    next_authority = Certificates(tmp_path, "next")
    request = runs_pb2.ListRunsRequest()
    async with served.running() as address, connected(address, served.trust) as runs:
        await runs.ListRuns(request, timeout=20)
        served.secret.swap(next_authority.server())
        await served.tls.look()
        async with connected(address, ClientTls(next_authority.ca)) as others:
            await others.ListRuns(request, timeout=20)
        async with connected(address, served.trust) as others:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await others.ListRuns(request, timeout=20)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        await runs.ListRuns(request, timeout=20)


async def test_authorities_of_clients_change_as_well(served: ServedByGrpc, tmp_path: Path) -> None:
    request = runs_pb2.ListRunsRequest()
    other = Certificates(tmp_path, "other")
    ours = ClientTls(str(tmp_path / "ours.pem"), *other.client())
    overwrite(str(tmp_path / "ours.pem"), served.authority.ca)
    async with served.running(ClientAuth.REQUIRED) as address:
        async with connected(address, ours) as runs:
            with pytest.raises(grpc.aio.AioRpcError):
                await runs.ListRuns(request, timeout=20)
        overwrite(served.authority.ca, other.ca)
        await served.tls.look()
        async with connected(address, ours) as runs:
            await runs.ListRuns(request, timeout=20)


async def test_a_unix_socket_stays_without_tls(served: ServedByGrpc, tmp_path: Path) -> None:
    async with served.running(address=f"unix:{tmp_path}/grpc.sock") as address, connected(address, None) as runs:
        await runs.ListRuns(runs_pb2.ListRunsRequest(), timeout=20)


async def test_clients_without_tls_are_not_logged(served: ServedByGrpc, caplog: pytest.LogCaptureFixture) -> None:
    async with served.running() as address, connected(address, None) as runs:
        with caplog.at_level(logging.INFO), pytest.raises(grpc.aio.AioRpcError):
            await runs.ListRuns(runs_pb2.ListRunsRequest(), timeout=20)
        assert caplog.records == []
