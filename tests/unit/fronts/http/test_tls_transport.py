"""The HTTP front over TLS: what is let in, what is kept out, and that connections behave as they do without."""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.access.presented import PeerCertificate
from gateway.core.client_tls import ClientTls
from gateway.core.server_tls import ClientAuth, ServerTls, ServerTlsFiles
from gateway.fronts.http.limits import HttpLimits
from tests.support.certificates import Certificates, MountedSecret
from tests.support.http_front import RunningFront, call, head, post, running_front
from tests.support.tasks import LIMIT
from tests.support.tls_checks import (
    ALL_REFUSED,
    RefusedByServer,
    refused_certificates,
    shake_hands,
    strengths,
    weaknesses,
)
from tests.support.tls_client import TlsStream

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def get(blob_id: str) -> bytes:
    return f"GET /api/v1/blobs/{blob_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class Served:
    """A front over TLS, with the authority of its certificate."""

    def __init__(self, directory: Path) -> None:
        self.authority = Certificates(directory)
        self.directory = directory
        self.secret = MountedSecret(directory / "mounted", self.authority.server())
        self.trust = ClientTls(self.authority.ca)

    @asynccontextmanager
    async def running(
        self, auth: ClientAuth = ClientAuth.NONE, shown: ClientTls | None = None, limits: HttpLimits | None = None
    ) -> AsyncIterator[RunningFront]:
        ca = None if auth is ClientAuth.NONE else self.authority.ca
        self.tls = ServerTls(ServerTlsFiles(*self.secret.files, ca, auth))
        context = (shown or self.trust).context()
        async with running_front(limits, tls=self.tls, client_context=context) as front:
            yield front


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


async def test_calls_answers_and_uploads(served: Served) -> None:
    async with served.running() as front:
        connection = await front.connect()
        for size in (1, 16_384, 16_385, 3_000_000):
            value = "x" * size
            answer = await connection.send(call("blobs/put", {"data": value, "blobType": "data"})).answer()
            blob_id = answer.json()["result"]["blobId"]
            answer = await connection.send(get(blob_id)).answer()
            assert answer.json()["data"] == value
        await connection.close()


async def test_events_reach_their_client(served: Served) -> None:
    async with served.running() as front:
        run_id = await front.submit()
        connection = await front.connect()
        params = {"runId": run_id, "wait": True}
        connection.send(call("runs/get", params, "Accept: text/event-stream"))
        status, headers = await connection.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert await connection.reader.readuntil(b"\n\n")
        await connection.close()


@pytest.mark.parametrize("notify", [False, True])
async def test_a_client_that_closes_its_side_gets_its_answer(served: Served, notify: bool) -> None:
    async with served.running() as front:
        connection = await front.connect()
        stream: Any = connection.writer
        connection.send(call("blobs/put", {"data": 1, "blobType": "data"}))
        if notify:
            stream.close_notify()
        connection.half_close()
        assert (await connection.answer()).status == 200
        assert await connection.rest() == b""


async def test_an_end_is_said_by_tls(served: Served) -> None:
    async with served.running() as front:
        connection = await front.connect()
        connection.send(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await connection.answer()).status == 200
        assert await connection.rest() == b""  # Without it, the reader would raise.


async def test_versions_and_suites(served: Served) -> None:
    async with served.running() as front:
        assert await weaknesses(front.front.address, served.trust, "http/1.1") == []
        assert await strengths(front.front.address, served.trust, "http/1.1") == [
            ("TLSv1.2", "http/1.1"),
            ("TLSv1.3", "http/1.1"),
        ]


async def test_certificates_of_clients(served: Served, tmp_path: Path) -> None:
    good = served.authority.client("good", "spiffe://example.org/a", "a.example", common_name="a")
    other = Certificates(tmp_path, "other")
    async with served.running(ClientAuth.REQUIRED, ClientTls(served.authority.ca, *good)) as front:
        connection = await front.connect()
        assert (await connection.send(HEALTH).answer()).status == 200
        assert [each.certificate for each in front.open_connections] == [
            PeerCertificate(("spiffe://example.org/a",), ("a.example",), "a")
        ]
        refused = await refused_certificates(front.front.address, served.authority, other, "http/1.1")
        assert refused == ALL_REFUSED


async def test_optional_certificates(served: Served, tmp_path: Path) -> None:
    other = Certificates(tmp_path, "other")
    async with served.running(ClientAuth.OPTIONAL) as front:
        connection = await front.connect()
        assert (await connection.send(HEALTH).answer()).status == 200
        assert [each.certificate for each in front.open_connections] == [None]
        refused = await refused_certificates(front.front.address, served.authority, other, "http/1.1")
        assert refused == [name for name in ALL_REFUSED if not name.startswith("none")]


async def test_a_new_certificate_is_for_new_connections(served: Served, tmp_path: Path) -> None:
    next_authority = Certificates(tmp_path, "next")
    async with served.running() as front:
        connection = await front.connect()
        assert (await connection.send(HEALTH).answer()).status == 200
        served.secret.swap(next_authority.server())
        await served.tls.look()
        with pytest.raises(RefusedByServer):
            await shake_hands(front.front.address, served.trust.context())
        await shake_hands(front.front.address, ClientTls(next_authority.ca).context())
        assert (await connection.send(HEALTH).answer()).status == 200


async def test_plain_http_is_told_and_logged_once(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    async with served.running() as front:
        front.client_context = None
        with caplog.at_level(logging.INFO):
            for _ in range(5):
                connection = await front.connect()
                answer = await connection.send(HEALTH).answer()
                assert (answer.status, answer.body) == (400, b"this port speaks HTTPS only")
                assert await connection.rest() == b""
            for garbage in (b"\x00" * 100, b"\x16\x03\x01\x00\x05hello", b"\x16" * 2_000):
                connection = await front.connect()
                await connection.send(garbage).rest()
        assert len(caplog.records) == 1
        assert "1 TLS handshakes have failed; the last one, of" in caplog.text


async def test_handshakes_that_never_come_are_counted_and_end(served: Served) -> None:
    limits = HttpLimits(connections=3, head_seconds=0.2)
    async with served.running(limits=limits) as front:
        front.client_context = None
        silent = [await front.connect() for _ in range(2)]
        silent.append((await front.connect()).send(b"\x16\x03\x01"))
        refused = await front.connect()
        assert await refused.rest() == b""
        for connection in silent:
            assert await connection.rest() == b""
        front.client_context = served.trust.context()
        assert (await (await front.connect()).send(HEALTH).answer()).status == 200


async def test_a_stop_ends_handshakes(served: Served) -> None:
    async with served.running() as front:
        front.client_context = None
        silent = await front.connect()
        talking = await front.connect()
        await talking.send(HEALTH).answer()  # By then, the other one has been accepted.
        await front.front.stop(0)
        assert await silent.rest() == b""


async def test_what_waits_to_be_sent_is_seen_and_a_client_that_does_not_read_is_dropped(served: Served) -> None:
    async with served.running(limits=HttpLimits(unread_seconds=0.2)) as front:
        stored = await front.ask("blobs/put", {"data": "x" * 8_000_000, "blobType": "data"})
        connection = await front.connect(receive_buffer=4_096)
        reading: Any = connection.writer
        reading._pump.cancel()
        connection.send(get(stored["blobId"]))
        async with asyncio.timeout(LIMIT):
            while not any(each.unsent for each in front.open_connections):  # noqa: ASYNC110
                await asyncio.sleep(0)
            while front.open_connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_bodies_that_are_cut_by_tls_are_refused(served: Served) -> None:
    async with served.running() as front:
        connection = await front.connect()
        connection.send(head("/", "Content-Length: 100") + b"{")
        stream: Any = connection.writer
        stream.close_notify()
        answer = await connection.answer()
        assert answer.status == 400
        assert json.loads(answer.body)["error"]["code"] == -32700


async def test_broken_records_end_their_connection_alone(served: Served) -> None:
    async with served.running() as front:
        other = await front.connect()
        connection = await front.connect()
        await connection.send(post()).answer()
        stream: Any = connection.writer
        stream._writer.write(b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connection.reader.readexactly(1)
        assert (await other.send(HEALTH).answer()).status == 200


async def test_updates_of_keys_that_nobody_reads_are_bounded(served: Served) -> None:
    """Each is answered by TLS itself. The standard library cannot ask for them, so their answers are put in."""
    async with served.running() as front:
        connection = await front.connect()
        await connection.send(HEALTH).answer()
        transport: Any = front.open_connections[0].transport
        sent = 0
        while not transport.is_closing():
            transport._outgoing.write(b"\x00" * 4_096)
            transport._answer_unasked()
            sent += 4_096
            assert sent < 64 << 20
        assert isinstance(connection.writer, TlsStream)
