"""Who may call, how often, and how that is told and counted."""

import asyncio
import base64
import io
import json
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.access.access import Access
from gateway.access.presented import Presented
from gateway.core.caller import Caller
from gateway.core.errors import Unauthenticated
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.web.body_parts import PART
from gateway.fronts.web.frames import frame
from tests.support.counted import Counted
from tests.support.spans import ids_of, recorded_spans
from tests.support.web_front import BLOBS, JSON, RUNS, STREAM, WebServer, framed, web_server

WEB = {"Content-Type": "application/grpc-web+json"}
HTTP = "runs_gateway_http_requests_total"


class NobodyAccess(Access):
    """Knows nobody."""

    configured = True

    def known(self, presented: Presented) -> Caller | None:
        return None

    async def identify(self, presented: Presented) -> Caller:
        raise Unauthenticated("a token is needed")

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def closed() -> AsyncIterator[WebServer]:
    async with web_server(access=NobodyAccess()) as server:
        yield server


async def test_who_is_not_known_is_told_so_in_the_form_of_the_protocol(closed: WebServer) -> None:
    unary = await closed.call(f"{RUNS}/ListRuns", {})
    assert (unary.status, unary.json()["code"]) == (401, "unauthenticated")
    assert unary.headers["WWW-Authenticate"] == "Bearer"
    stream = await closed.stream(f"{RUNS}/GetRun", {"runId": "x"})
    assert stream.messages()[-1]["error"]["code"] == "unauthenticated"
    web = await closed.post(f"{RUNS}/ListRuns", framed({}), **WEB)
    assert b"grpc-status: 16\r\n" in web.frames()[-1][1]


async def test_health_is_for_everybody(closed: WebServer) -> None:
    assert (await closed.call("grpc.health.v1.Health/Check", {})).status == 200


async def test_requests_count_by_their_method(closed: WebServer) -> None:
    counted = Counted()
    await closed.call(f"{RUNS}/ListRuns", {})
    await closed.call(f"{RUNS}/Absent{'x' * 50}", {})
    await closed.call("grpc.health.v1.Health/Check", {})
    assert counted.of(HTTP) == {
        (f"/{RUNS}/ListRuns", "401"): 1,
        (f"/{RUNS}/*", "401"): 1,
        ("/grpc.health.v1.Health/Check", "200"): 1,
    }


async def test_calls_count_as_those_of_grpc() -> None:
    async with web_server() as server:
        counted = Counted()
        await server.call(f"{RUNS}/ListRuns", {})
        await server.call(f"{RUNS}/CancelRun", {"runId": "x"})
        handled = counted.of("grpc_server_handled_total")
        assert {labels[-2:] for labels in handled} == {("ListRuns", "OK"), ("CancelRun", "InvalidArgument")}


async def test_a_request_beyond_a_limit_is_refused_in_the_form_of_the_protocol() -> None:
    async with web_server(HttpLimits(requests=0)) as server:
        answer = await server.call(f"{RUNS}/ListRuns", {})
        assert (answer.status, answer.json()["code"]) == (429, "resource_exhausted")
        assert answer.headers["Retry-After"] == "1"
        web = await server.post(f"{RUNS}/ListRuns", framed({}), **WEB)
        assert b"grpc-retry-pushback-ms: 1000\r\n" in web.frames()[-1][1]


async def test_a_long_answer_is_sent_as_it_is_read() -> None:
    async with web_server() as server:
        text = json.dumps("x" * 900_000)
        blob_id = (await server.call(f"{BLOBS}/PutBlob", {"json": text, "type": "BLOB_TYPE_DATA"})).json()["blobId"]
        for headers in (JSON, {**JSON, "Accept-Encoding": "gzip"}):
            answer = await server.post(f"{BLOBS}/GetBlob", json.dumps({"blobId": blob_id}).encode(), **headers)
            assert answer.json()["json"] == text
        for kind in ("application/grpc-web+json", "application/grpc-web-text+json"):
            body = framed({"blobId": blob_id})
            if "text" in kind:
                body = base64.b64encode(body)
            web = await server.post(f"{BLOBS}/GetBlob", body, Content_Type=kind)
            assert json.loads(web.frames()[0][1])["json"] == text
            assert b"grpc-status: 0" in web.frames()[1][1]
        assert not server.grpc.calls.number


async def test_streams_say_that_they_end_with_their_connection() -> None:
    async with web_server(HttpLimits(connection_age=3_600.0)) as server:
        run = await server.submit("1")
        answer = await server.post(f"{RUNS}/GetRun", framed({"runId": run["runId"]}), **STREAM)
        assert answer.headers["Connection"] == "close"


async def test_a_call_has_the_span_of_its_method_in_the_trace_of_its_client() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with recorded_spans() as spans:
        async with web_server() as server:
            await server.call(f"{RUNS}/ListRuns", {}, traceparent=f"00-{trace}-b7ad6b7169203331-01")
            await server.stream(f"{RUNS}/GetRun", {"runId": "x"})
        assert ids_of(spans.only(f"{RUNS}/ListRuns"))[0] == trace
        assert spans.named(f"{RUNS}/GetRun")


@pytest.mark.parametrize("kind", ["application/json", "application/grpc-web+json"])
async def test_what_a_client_does_not_read_of_a_long_answer_is_not_written(kind: str) -> None:
    async with web_server() as server:
        text = json.dumps("x" * (8 << 20))
        body = io.BytesIO(json.dumps({"json": text, "type": "BLOB_TYPE_DATA"}).encode())
        async with server.session.post(server.url(f"{BLOBS}/PutBlob"), data=body, headers=JSON) as put:
            blob_id = (await put.json())["blobId"]
        message = json.dumps({"blobId": blob_id, "maxResponseMessageBytes": 64 << 20}).encode()
        sent = frame(message) if "grpc" in kind else message
        host, _, port = server.front.address.rpartition(":")
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 10)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=client, limit=4 << 10)
        head = f"POST /{BLOBS}/GetBlob HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        writer.write(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
        async with asyncio.timeout(30):
            while not any(connection.writing_paused for connection in server.front._connections):  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert max(connection.unsent for connection in server.front._connections) <= PART
        assert server.grpc.calls.number == 1  # It counts until it has been read.
        received = await reader.readexactly(length)
        assert text.encode()[1:-1] in received
        writer.close()
