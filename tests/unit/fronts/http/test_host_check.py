"""Which hosts and origins are served, on every path and by every method."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.host_check import ServedHosts
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.http_front import Answer, RunningFront, head, post, running_front
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, ScriptedRuntime

PATHS = ["/", "/health", "/api/v1/blobs", f"/api/v1/blobs/{MISSING_BLOB}", "/absent"]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": "x", "wait": True}})

SERVED_HOSTS = [
    "localhost",
    "LOCALHOST:8080",
    "localhost.",
    "app.localhost:1",
    "127.0.0.1",
    "127.1.2.3:65535",
    "[::1]",
    "[0:0:0:0:0:0:0:1]:80",
    "[::ffff:127.0.0.1]",
    "gateway.example",
    "Gateway.Example:443",
    "gateway",
]
OTHER_HOSTS = [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evillocalhost",
    "sub.gateway.example",
    "gateway.example.evil.example",
    "0.0.0.0",
    "192.168.1.1",
    "[::]",
    "[::2]:80",
    "localhost@evil.example",
    "localhost:80:80",
    "[::1",
    "",
]
SERVED_ORIGINS = ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5", "https://gateway.example"]
OTHER_ORIGINS = [
    "http://evil.example",
    "null",
    "http://localhost.evil.example",
    "http://evil.example http://localhost",
    "localhost",
    "file://",
    "http://localhost@evil.example",
    "http://localhost/",
    "chrome-extension://abcdef",
    "",
]


@asynccontextmanager
async def serving(address: str, *allowed: str) -> AsyncIterator[HttpFront]:
    service = RunsService(ScriptedRuntime(), grace=0)
    front = HttpFront(JsonRpcMethods(RunsServices(service)), address, hosts=ServedHosts(allowed))
    await front.start()
    yield front
    await front.stop(0)
    await service.close()


@pytest.fixture
async def front() -> AsyncIterator[HttpFront]:
    async with serving("127.0.0.1:0", "gateway.example", "gateway") as front:
        yield front


async def status_of(front: HttpFront, path: str, method: str, headers: dict[str, str]) -> tuple[int, Any]:
    """How a request is answered. Every answer with a body is JSON that no browser takes for something else."""
    url = f"http://{front.address}{path}"
    sent = {"Content-Type": "application/json", "Accept": "text/event-stream", **headers}
    async with aiohttp.ClientSession() as http, http.request(method, url, data=BODY, headers=sent) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in response.headers
        body = await response.read()
        return response.status, json.loads(body) if body else None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", PATHS)
async def test_every_path_and_method_refuses_other_hosts_and_origins(front: HttpFront, path: str, method: str) -> None:
    status, _ = await status_of(front, path, method, {})
    assert status not in (403, 421)
    for host in SERVED_HOSTS:
        assert (await status_of(front, path, method, {"Host": host}))[0] == status, host
    for host in OTHER_HOSTS:
        refused, body = await status_of(front, path, method, {"Host": host})
        assert refused == 421, host
        assert body is None or "HOST_NOT_SERVED" in json.dumps(body)
    for origin in SERVED_ORIGINS:
        assert (await status_of(front, path, method, {"Origin": origin}))[0] == status, origin
    for origin in OTHER_ORIGINS:
        refused, body = await status_of(front, path, method, {"Origin": origin})
        assert refused == 403, origin
        assert body is None or "ORIGIN_NOT_ALLOWED" in json.dumps(body)


async def test_on_other_addresses_any_host_is_served_and_its_own_pages() -> None:
    async with serving("0.0.0.0:0") as front:
        port = front.address.rpartition(":")[2]
        front._address = f"127.0.0.1:{port}"
        for host in ("evil.example", "10.0.0.1:80", "localhost"):
            assert (await status_of(front, "/health", "GET", {"Host": host}))[0] == 200
            own = {"Host": host, "Origin": f"https://{host}"}
            assert (await status_of(front, "/health", "GET", own))[0] == 200
            other = {"Host": host, "Origin": "https://other.example"}
            assert (await status_of(front, "/health", "GET", other))[0] == 403


async def test_on_other_addresses_names_that_are_given_are_the_only_ones() -> None:
    async with serving("0.0.0.0:0", "gateway.example") as front:
        port = front.address.rpartition(":")[2]
        front._address = f"127.0.0.1:{port}"
        answers = {
            host: (await status_of(front, "/health", "GET", {"Host": host}))[0] for host in ("gateway.example", "x")
        }
        assert answers == {"gateway.example": 200, "x": 421}
        # Component servers on this machine are told a loopback address.
        assert (await status_of(front, "/health", "GET", {"Host": f"127.0.0.1:{port}"}))[0] == 200


async def test_the_host_that_component_servers_are_told_is_served_and_closes_nothing_else() -> None:
    service = RunsService(ScriptedRuntime(), grace=0)
    for address, other in (("127.0.0.1:0", 421), ("0.0.0.0:0", 200)):
        front = HttpFront(JsonRpcMethods(RunsServices(service)), address, hosts=ServedHosts(own=["containers.example"]))
        await front.start()
        front._address = f"127.0.0.1:{front.address.rpartition(':')[2]}"
        for host, expected in (("containers.example:8080", 200), ("x", other)):
            assert (await status_of(front, "/health", "GET", {"Host": host}))[0] == expected
        await front.stop(0)
    await service.close()


async def test_a_unix_socket_serves_any_host_and_no_foreign_page(tmp_path: Path) -> None:
    async with serving(f"unix:{tmp_path}/http.sock"):
        connector = aiohttp.UnixConnector(f"{tmp_path}/http.sock")
        async with aiohttp.ClientSession(connector=connector) as http:
            for headers, status in [({}, 200), ({"Origin": "http://evil.example"}, 403)]:
                async with http.get("http://any.example/health", headers=headers) as response:
                    assert response.status == status


async def ask(front: RunningFront, request: bytes) -> Answer:
    return await (await front.connect()).send(request).answer()


async def test_a_host_in_the_request_line_takes_the_place_of_the_header() -> None:
    async with running_front() as front:
        line = b"GET http://%b/health HTTP/1.1\r\nHost: %b\r\n\r\n"
        assert (await ask(front, line % (b"evil.example", b"localhost"))).status == 421
        assert (await ask(front, line % (b"localhost:1", b"evil.example"))).status == 200
        # Browsers name the host in any case.
        assert (await ask(front, b"GET /health HTTP/1.0\r\n\r\n")).status == 200


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: \xa9.example", 421),
        (b"GET http://\xa9.example/ HTTP/1.1\r\nHost: localhost", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://\xa9.example", 403),
    ],
)
async def test_bytes_that_are_no_text_are_refused_as_well(lines: bytes, status: int) -> None:
    async with running_front() as front:
        assert (await ask(front, lines + b"\r\n\r\n")).status == status


async def test_a_request_that_is_refused_has_no_effect_and_its_body_is_read() -> None:
    async with running_front() as front:
        body = json.dumps({"data": json.loads(str(FLOW.content)), "blobType": "flow"}).encode()
        connection = await front.connect()
        refused = await connection.send(post(body, "/api/v1/blobs", "Origin: http://evil.example")).answer()
        assert (refused.status, refused.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
        assert (await connection.send(post(body, "/api/v1/blobs")).answer()).status == 200
        many = head("/", "Content-Length: 2", "Origin: http://localhost", "Origin: http://evil.example") + b"{}"
        assert (await ask(front, many)).status in (400, 403)
