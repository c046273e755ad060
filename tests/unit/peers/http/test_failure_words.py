"""Why a server cannot be reached, in words."""

import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientConnectorDNSError, ClientTimeout, web
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.test_utils import TestServer, unused_port

from gateway.core.client_tls import ClientTls
from gateway.peers.http.client import client_session, request
from gateway.peers.http.errors import HttpFailure
from gateway.peers.http.failure_words import not_connected
from tests.support.certificates import Certificates


async def words(url: str, tls: ClientTls | None = None, seconds: float | None = None) -> str:
    async with client_session(idle_seconds=0, tls=tls) as session:
        with pytest.raises(HttpFailure) as failed:
            async with request(session, "GET", url, headers={}, times=ClientTimeout(total=seconds)):
                pass
    return str(failed.value)


async def test_nothing_listens() -> None:
    port = unused_port()
    assert await words(f"http://127.0.0.1:{port}/") == "no connection: Connection refused"


async def test_a_certificate_that_is_not_accepted_and_a_port_without_tls(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    authority, other = Certificates(tmp_path), Certificates(tmp_path / "other")
    files = authority.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    async with TestServer(web.Application()) as plain:
        secured = TestServer(web.Application())
        await secured.start_server(ssl=context)
        assert (await words(f"https://127.0.0.1:{secured.port}/", ClientTls(other.ca))).startswith(
            "the certificate of the server is not accepted: "
        )
        assert (await words(f"https://127.0.0.1:{plain.port}/", ClientTls(other.ca))).startswith(
            "no connection over TLS: "
        )
        await secured.close()


async def test_no_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert await words(f"http://127.0.0.1:{port}/", seconds=0.01) == "no answer in time"


def test_a_name_that_nobody_knows() -> None:
    key = ConnectionKey(
        "nowhere.invalid", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
    )
    error = ClientConnectorDNSError(key, socket.gaierror(-2, "Name or service not known"))
    assert not_connected(error) == "the name of the server cannot be resolved"
