"""Where metrics are served, as the settings say."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.access.access import OpenAccess
from gateway.access.certificates import CertificateCallers
from gateway.access.configured_access import ConfiguredAccess
from gateway.access.granted import Roles
from gateway.core.server_tls import ServerTls, ServerTlsFiles
from gateway.server.metrics_port import open_metrics
from gateway.server.settings import BridgeSettings, ServeSettings, StartError
from gateway.server.telemetry_settings import TelemetrySettings
from tests.support.certificates import Certificates

DEFAULT = "127.0.0.1:9464"


@pytest.fixture
def taken() -> Iterator[str]:
    """An address on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


async def opened(stack: AsyncExitStack, settings: Any, **options: Any) -> str | None:
    return await open_metrics(settings, stack, **{"access": OpenAccess(), "tls": None, **options})


async def scrape(url: str | None, **headers: str) -> tuple[int, str]:
    assert url is not None
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as response:
        return response.status, await response.text()


async def test_metrics_are_at_the_address_until_the_stack_is_closed() -> None:
    async with AsyncExitStack() as stack:
        url = await opened(stack, ServeSettings(metrics_address="127.0.0.1:0"))
        status, text = await scrape(url)
        assert status == 200
        assert "\nruns_gateway_build_info{version=" in text
        assert "\nruns_gateway_workers 1.0\n" in text
        assert '\nprocess_open_fds{process="gateway"} ' in text
    with pytest.raises(aiohttp.ClientConnectorError):
        await scrape(url)


async def test_off_serves_nothing() -> None:
    async with AsyncExitStack() as stack:
        assert await opened(stack, ServeSettings(metrics_address="off")) is None


async def test_a_unix_socket_is_told_as_one(home: Path) -> None:
    async with AsyncExitStack() as stack:
        address = f"unix:{home}/metrics"
        assert await opened(stack, ServeSettings(metrics_address=address)) == address


async def test_a_bridge_has_a_name_of_its_own() -> None:
    needed: dict[str, Any] = {"engine": "http://127.0.0.1:1", "queue": "q", "components": {"/a": "http://127.0.0.1:1"}}
    async with AsyncExitStack() as stack:
        url = await opened(stack, BridgeSettings(**needed, metrics_address="127.0.0.1:0"))
        assert '\nprocess_open_fds{process="bridge"} ' in (await scrape(url))[1]


async def test_where_other_machines_reach_it_it_speaks_tls_and_on_loopback_it_does_not(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    files = certificates.server()
    tls = ServerTls(ServerTlsFiles(files.cert, files.key))
    async with AsyncExitStack() as stack:
        url = await opened(stack, ServeSettings(metrics_address="0.0.0.0:0"), tls=tls)
        assert url is not None
        assert url.startswith("https://0.0.0.0:")
        context = ssl.create_default_context(cafile=certificates.ca)
        reached = url.replace("0.0.0.0", "localhost")
        async with aiohttp.ClientSession() as http, http.get(reached, ssl=context) as response:
            assert response.status == 200
        local = await opened(stack, ServeSettings(metrics_address="127.0.0.1:0"), tls=tls)
        assert (await scrape(local))[0] == 200


def test_a_bridge_beside_a_gateway_has_another_default_address() -> None:
    fields = (TelemetrySettings.model_fields, ServeSettings.model_fields, BridgeSettings.model_fields)
    assert [each["metrics_address"].default for each in fields] == [DEFAULT, DEFAULT, "127.0.0.1:9465"]


async def test_an_address_that_is_taken_ends_the_start_if_somebody_has_named_it(taken: str) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(StartError, match=rf"cannot listen on {taken}: .* \(--metrics-address\)"):
            await opened(stack, ServeSettings(metrics_address=taken))


async def test_the_default_address_is_done_without_and_that_is_said_once(
    taken: str, caplog: pytest.LogCaptureFixture
) -> None:
    # What nobody has named: as the default is, but taken for sure.
    settings = ServeSettings.model_construct(_fields_set=set(), **{**dict(ServeSettings()), "metrics_address": taken})
    async with AsyncExitStack() as stack:
        assert await opened(stack, settings) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"metrics are not served: cannot listen on {taken}: Address already in use (--metrics-address)"
    ]


@pytest.mark.parametrize(("address", "status"), [("0.0.0.0:0", 401), ("127.0.0.1:0", 200)])
async def test_a_token_is_asked_for_where_other_machines_reach_it(address: str, status: int) -> None:
    access = ConfiguredAccess(certificates=CertificateCallers([], Roles({})))
    async with AsyncExitStack() as stack:
        url = await opened(stack, ServeSettings(metrics_address=address), access=access)
        assert url is not None
        assert (await scrape(url.replace("0.0.0.0", "127.0.0.1")))[0] == status
    await access.close()
