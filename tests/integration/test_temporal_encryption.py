"""With a key, neither the Temporal server nor the object storage holds anything of payloads that can be read."""

import base64
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import Unavailable
from gateway.core.model import Blob, BlobType, GetParams, RunState, RunStatus, SubmitParams
from gateway.server.app import running
from gateway.server.settings import ServeSettings, StartError
from gateway.storage.payload_keys import parse_payload_keys
from gateway.testing.component_server import component_server
from gateway.testing.functions import Functions
from tests.support.clients import GrpcClient
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

KEYS = [base64.b64encode(bytes([number] * 32)) for number in (1, 2)]
FLOW = Blob(
    '{"steps": [{"id": "s", "component": "/t/told", "input": {"$input": "$"}}], "output": {"$step": "s"}}',
    BlobType.FLOW,
)


async def told(value: Any) -> Any:
    """Fails with what it got, or returns it."""
    if str(value).startswith("fail"):
        raise ValueError(value)
    return f"{value}-result"


class Gateways:
    """Gateways of one test, on a namespace and a folder of their own."""

    def __init__(self, stack: AsyncExitStack, server: TemporalServer, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self.objects = folder / "objects"
        self.objects.mkdir()
        self._runtime = server.runtime(f"test-{uuid.uuid4()}")

    async def start(self, *keys: bytes, **settings: Any) -> GrpcClient:
        """Start one with these keys, and return a client of it."""
        if keys:
            settings["payload_key"] = str(file := self._folder / f"{uuid.uuid4()}")
            file.write_bytes(b"\n".join(keys))
        url = await self._stack.enter_async_context(component_server(Functions({"/t/told": told})))
        addresses: dict[str, Any] = {
            "grpc_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "metrics_address": "off",
        }
        made = ServeSettings(
            runtime=self._runtime, blobs=f"file://{self.objects}", components={"/": url}, **addresses, **settings
        )
        gateway = await self._stack.enter_async_context(running(made))
        client = GrpcClient(gateway.grpc)
        self._stack.push_async_callback(client.close)
        return client


@pytest.fixture
async def gateways(temporal_server: TemporalServer, tmp_path: Path) -> AsyncIterator[Gateways]:
    async with AsyncExitStack() as stack:
        yield Gateways(stack, temporal_server, tmp_path)


async def ended(client: GrpcClient, *inputs: str) -> RunStatus:
    flow_id = await client.put_blob(FLOW)
    variables = {"v": '"secret-variable"'}
    return await client.submit(SubmitParams(flow_id=flow_id, inputs=list(inputs), variables=variables, wait=True))


def contents(folder: Path) -> list[bytes]:
    """What is in all files below a folder."""
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file()]


async def test_nothing_of_payloads_can_be_read(temporal_server: TemporalServer, gateways: Gateways) -> None:
    client = await gateways.start(KEYS[0])
    secret = f"secret-{uuid.uuid4()}"
    long = f'"{secret}{"-" * 200_000}"'
    status = await ended(client, f'"{secret}"', f'"fail-{secret}"', long)
    assert [result.status for result in status.results or ()] == [RunState.SUCCESS, RunState.FAILED, RunState.SUCCESS]
    assert status.results is not None
    assert status.results[0].value == f'"{secret}-result"'
    assert status.results[2].value == f'{long[:-1]}-result"'
    kept = contents(temporal_server.database.parent) + contents(gateways.objects)
    assert any(status.run_id.encode() in data for data in kept)
    for text in (secret, "secret-variable", "/t/told"):
        assert not any(text.encode() in data for data in kept)


async def test_one_key_takes_the_place_of_another(gateways: Gateways) -> None:
    old = await gateways.start(KEYS[0], KEYS[1])
    earlier = await ended(old, "1")
    both = await gateways.start(KEYS[1], KEYS[0])
    later = await ended(both, "2")
    for run in (earlier, later):
        status = await both.get(GetParams(run_id=run.run_id, include_results=True))
        assert [result.status for result in status.results or ()] == [RunState.SUCCESS]


async def test_a_gateway_without_the_key_does_not_start(gateways: Gateways) -> None:
    await gateways.start(KEYS[0])
    with pytest.raises(StartError, match=r"its objects are encrypted, and this gateway has no key \(--payload-key\)"):
        await gateways.start()
    key_id = parse_payload_keys(KEYS[0]).first_id
    with pytest.raises(StartError, match=f"encrypted with the key {key_id}, which this gateway does not have"):
        await gateways.start(KEYS[1])


async def test_a_gateway_that_runs_without_the_key_says_that_it_lacks_it(
    gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    without = await gateways.start(gateway_roles=("front",))
    status = await ended(await gateways.start(KEYS[0]), "1")
    with pytest.raises(Unavailable, match="this gateway cannot read what another one has written"):
        await without.get(GetParams(run_id=status.run_id))
    assert "it is encrypted, and this gateway has no key (--payload-key)" in caplog.text


async def test_a_file_that_holds_no_key_is_refused(gateways: Gateways) -> None:
    with pytest.raises(StartError, match=r"expected keys of 32 bytes in base64.*\(--payload-key\)"):
        await gateways.start(b"short")
