"""TLS, tokens and namespaces of the clients."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.client import AsyncRunsClient, RunsClient, SecurityOptions
from gateway.client.security import ExposedToken, Security
from gateway.core.token_file import TokenFileError
from runs.v1 import blobs_pb2, blobs_pb2_grpc
from tests.support.certificates import Certificates

TOKEN = "canary-token"


class Blobs(blobs_pb2_grpc.BlobsServiceServicer):
    """Notes the metadata of calls."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, Any]] = []

    async def PutBlob(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.metadata.append(dict(context.invocation_metadata()))
        return blobs_pb2.PutBlobResponse(blob_id=f"sha256:{'0' * 64}")

    async def GetBlob(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("no blob is asked for")


class Served:
    def __init__(self, address: str, blobs: Blobs) -> None:
        self.address = address
        self.blobs = blobs


@pytest.fixture
async def plain() -> AsyncIterator[Served]:
    server, blobs = grpc.aio.server(), Blobs()
    blobs_pb2_grpc.add_BlobsServiceServicer_to_server(blobs, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Served(f"127.0.0.1:{port}", blobs)
    await server.stop(0)


async def test_calls_carry_the_token_and_the_namespace(plain: Served) -> None:
    async with AsyncRunsClient(plain.address, token=TOKEN, namespace="team") as client:
        await client.put_flow("{}")
    (metadata,) = plain.blobs.metadata
    assert metadata["authorization"] == f"Bearer {TOKEN}"
    assert metadata["runs-namespace"] == "team"


async def test_a_channel_that_is_given_carries_them_as_well(plain: Served) -> None:
    async with (
        grpc.aio.insecure_channel(plain.address) as channel,
        AsyncRunsClient(channel, token=TOKEN) as client,
    ):
        await client.put_flow("{}")
    assert plain.blobs.metadata[0]["authorization"] == f"Bearer {TOKEN}"


async def test_a_token_file_is_read(plain: Served, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    async with AsyncRunsClient(plain.address, token_file=file) as client:
        await client.put_flow("{}")
    assert plain.blobs.metadata[0]["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("target", ["gateway.example:50051", "10.0.0.1:50051", "grpc://[2001:db8::1]:50051"])
def test_a_token_stays_off_the_network_without_tls(target: str) -> None:
    with pytest.raises(ExposedToken):
        Security(target, None, {"token": TOKEN})
    assert Security(target, None, {"token": TOKEN, "insecure": True}).metadata
    assert Security(target, None, {"token": TOKEN, "tls": True}).credentials is not None


@pytest.mark.parametrize("target", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/x.sock", "grpc://127.8.8.8:1"])
def test_a_token_may_stay_on_this_machine(target: str) -> None:
    assert Security(target, None, {"token": TOKEN}).metadata


def test_tls_is_turned_on_by_any_of_its_options(tmp_path: Path) -> None:
    authority = Certificates(tmp_path).ca
    assert Security("grpcs://localhost:1", None, {}).credentials is not None
    assert Security("localhost:1", None, {"ca": authority}).credentials is not None
    assert Security("localhost:1", None, {}).credentials is None


@pytest.mark.parametrize(
    "options",
    [{"token": "two words"}, {"token": ""}, {"token": "a", "token_file": "b"}, {"key": "key.pem"}],
)
def test_options_that_cannot_be_meant_are_refused(options: SecurityOptions) -> None:
    with pytest.raises(ValueError, match=r"token|cert"):
        RunsClient("localhost:1", **options)


@pytest.mark.parametrize("namespace", ["b\n", "", "Team", "a b", "\u00e9", "x" * 64, "-a"])
def test_a_namespace_that_cannot_be_one_is_refused_before_anything_is_sent(namespace: str) -> None:
    for kind in (RunsClient, AsyncRunsClient):
        with pytest.raises(ValueError, match=r"^namespace: expected 1 to 63 of a-z") as refused:
            kind("localhost:1", namespace=namespace)
        assert "\n" not in str(refused.value)


def test_nothing_that_is_shown_has_the_token(tmp_path: Path) -> None:
    security = Security("localhost:1", None, {"token": TOKEN})
    assert TOKEN not in repr(security) + repr(vars(security))
    with pytest.raises(TokenFileError):
        RunsClient("localhost:1", token_file=tmp_path / "missing")


@pytest.mark.parametrize("client", [RunsClient, AsyncRunsClient])
@pytest.mark.parametrize(
    "target", ["", "host:port", "http://host:1", "grpcs://", "host:70000", "::1:50051", "a host:1"]
)
async def test_a_target_that_can_be_no_address_is_refused_at_once(client: Any, target: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT or unix:/PATH"):
        client(target)


@pytest.mark.parametrize(
    "target", ["host", "[::1]", "[::1]:1", "grpcs://host:1", "unix:/path", "dns:///host:1", "unix:path"]
)
def test_every_target_that_grpc_takes_is_one(target: str) -> None:
    assert target.endswith(Security(target, None, {}).address)
