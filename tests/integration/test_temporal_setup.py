"""The command that prepares a Temporal server, on a real one."""

import asyncio
import json
import sys
import uuid
from pathlib import Path

import grpc
import pytest

from gateway.cli.errors import ExitCode
from gateway.runtimes.temporal.search_attributes import SEARCH_ATTRIBUTES
from tests.support.certificates import Certificates
from tests.support.free_port import free_port
from tests.support.temporal_proxy import TemporalProxy, server_credentials
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

NAMES = [key.name for key in SEARCH_ATTRIBUTES]


async def setup(*arguments: str) -> tuple[int, str, str]:
    """Run the command; its exit code and what it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "temporal", "setup", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4()}"


async def test_it_makes_what_is_missing_and_says_so(temporal_server: TemporalServer, namespace: str) -> None:
    runtime = temporal_server.runtime(namespace)
    code, out, err = await setup("--runtime", runtime, "--retention", "7d")
    assert (code, err) == (ExitCode.OK, "")
    assert out == f"namespace {namespace}: made\nsearch attributes: {', '.join(NAMES)}\n"
    code, out, err = await setup("--runtime", runtime, "--json")
    assert (code, err) == (ExitCode.OK, "")
    assert json.loads(out) == {"namespace": namespace, "made": False, "searchAttributes": []}


async def test_an_engine_that_is_away_has_the_exit_code_of_that() -> None:
    runtime = f"temporal://127.0.0.1:{free_port()}/default"
    code, out, err = await setup("--runtime", runtime)
    assert (code, out) == (ExitCode.UNAVAILABLE, "")
    assert err == f"error: {runtime}: the engine cannot be reached: no connection: Connection refused\n"


async def test_what_the_engine_does_not_permit_is_said_in_one_line(
    temporal_server: TemporalServer, namespace: str
) -> None:
    proxy = TemporalProxy(temporal_server.address)
    proxy.refused = {"RegisterNamespace": grpc.StatusCode.PERMISSION_DENIED}
    async with proxy.running():
        runtime = proxy.runtime(namespace)
        code, _, err = await setup("--runtime", runtime)
        assert code == ExitCode.ERROR
        assert err == (
            f"error: {runtime}: the namespace does not exist, and the engine does not let these credentials make it\n"
        )
        proxy.tokens = ["Bearer good"]
        code, _, err = await setup("--runtime", runtime)
        assert code == ExitCode.UNAVAILABLE
        assert err == f"error: {runtime}: the engine does not accept the credentials of this gateway\n"


async def test_tls_and_a_token_are_used_as_by_gateways(
    temporal_server: TemporalServer, namespace: str, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    client = certificates.client()
    token = tmp_path / "token"
    token.write_text("good\n")
    proxy = TemporalProxy(temporal_server.address)
    proxy.tokens = ["Bearer good"]
    async with proxy.running(server_credentials(certificates)):
        runtime = proxy.runtime(namespace, scheme="temporals")
        files = ("--upstream-ca", certificates.ca, "--upstream-cert", client.cert, "--upstream-key", client.key)
        code, out, err = await setup("--runtime", runtime, *files, "--upstream-token-file", str(token))
    assert (code, err) == (ExitCode.OK, "")
    assert out.startswith(f"namespace {namespace}: made\n")
