import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.adapter import jsonrpc
from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.long_texts import Held
from gateway.fronts.http.methods import JsonRpcMethods, RpcAnswer
from gateway.fronts.http.rpc_method import Origin
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.followers import followed
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime
from tests.support.tasks import all_ended

JSON = {"Content-Type": "application/json"}
BINARY = "application/octet-stream"

Serve = Callable[..., Awaitable["Server"]]


class Server:
    """A front, its methods, and a client of it."""

    def __init__(self, front: HttpFront, methods: JsonRpcMethods) -> None:
        self.front = front
        self.methods = methods
        path = front.address.removeprefix("unix:")
        connector = aiohttp.TCPConnector(limit=0) if path == front.address else aiohttp.UnixConnector(path)
        self.session = aiohttp.ClientSession(connector=connector, skip_auto_headers=["Content-Type"])
        self.url = f"http://{front.address}" if path == front.address else "http://unix"

    async def post(
        self, body: object, path: str = "/", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.request("POST", path, data=data, headers=JSON if headers is None else headers)

    async def request(self, method: str, path: str, **arguments: Any) -> tuple[int, dict[str, str], Any]:
        async with self.session.request(method, self.url + path, **arguments) as response:
            content = await response.read()
            is_json = response.headers.get("Content-Type") == "application/json"
            return response.status, dict(response.headers), json.loads(content) if is_json and content else content

    async def call(self, method: str, params: object) -> Any:
        status, _, answer = await self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        assert status == 200
        return answer["result"]

    async def submit(self, **params: object) -> Any:
        stored = await self.call("blobs/put", {"data": json.loads(str(FLOW.content)), "blobType": "flow"})
        return await self.call("runs/submit", {"flowId": stored["blobId"], "inputs": [1, 2], **params})

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.front.address.rpartition(":")
        return await asyncio.open_connection(host, int(port))


@pytest.fixture
async def serve(service: RunsService) -> AsyncIterator[Serve]:
    servers: list[Server] = []

    async def start(
        limits: HttpLimits | None = None, address: str = "127.0.0.1:0", account: MemoryAccount | None = None
    ) -> Server:
        methods = JsonRpcMethods(RunsServices(service))
        front = HttpFront(methods, address, limits=limits, account=account)
        await front.start()
        servers.append(Server(front, methods))
        return servers[-1]

    yield start
    for server in servers:
        await server.session.close()
        await server.front.stop(0)


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve()


# JSON-RPC


async def test_a_request_is_answered(server: Server, runtime: ScriptedRuntime) -> None:
    run = await server.submit()
    await runtime.succeed(1, '{"a":1}')
    got = await server.call("runs/get", {"runId": run["runId"], "includeResults": True})
    assert got["results"][0]["result"]["value"] == {"a": 1}


async def test_notifications_are_accepted_without_a_body(server: Server, runtime: ScriptedRuntime) -> None:
    run = await server.submit()
    notification = {"jsonrpc": "2.0", "method": "runs/get", "params": {"runId": run["runId"]}}
    for body in (notification, [notification, notification]):
        status, _, content = await server.post(body)
        assert (status, content) == (202, b"")


async def test_a_batch_is_answered_by_a_list(server: Server) -> None:
    call = {"jsonrpc": "2.0", "id": 7, "method": "runs/get", "params": {"runId": MISSING_RUN}}
    status, _, answer = await server.post([call, {}])
    assert status == 200
    assert [(member["id"], member["error"]["code"]) for member in answer] == [(7, -32000), (None, -32600)]


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", -32700), (b"{", -32700), (b"[]", -32600), (b"\x00", -32700), (b'{"jsonrpc":"2.0","id":1}', -32600)],
)
async def test_errors_of_json_rpc_are_answers(server: Server, body: bytes, code: int) -> None:
    status, headers, answer = await server.post(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert answer["error"]["code"] == code


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"]
)
async def test_bodies_declared_as_json_are_taken(server: Server, content_type: str) -> None:
    status, _, answer = await server.post({}, headers={"Content-Type": content_type})
    assert (status, answer["error"]["code"]) == (200, -32600)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": BINARY},
        {"Content-Type": "text/plain; application/json"},
        {**JSON, "Content-Encoding": "br"},
    ],
)
async def test_other_bodies_are_refused(server: Server, runtime: ScriptedRuntime, headers: dict[str, str]) -> None:
    status, _, answer = await server.post({"jsonrpc": "2.0", "id": 1, "method": "blobs/put"}, headers=headers)
    assert status == 415
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)
    assert "content-" in answer["error"]["message"]


async def test_a_body_sent_in_chunks_is_put_together(server: Server) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b'{"jsonrpc":"2.0",', b'"id":5,"method":"none"}'):
            yield piece

    status, _, answer = await server.request("POST", "/", data=chunks(), headers=JSON)
    assert (status, answer["id"], answer["error"]["code"]) == (200, 5, -32601)


# Limits


@pytest.mark.parametrize("path", ["/", "/api/v1/blobs"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(serve: Serve, path: str, *, chunked: bool) -> None:
    server = await serve(HttpLimits(body=1_000))

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    data = chunks() if chunked else b"x" * 1_001
    status, _, answer = await server.request("POST", path, data=data, headers=JSON)
    assert status == 413
    assert "1000" in answer["error"]["message"]
    status, _, answer = await server.post(b'"' + b"x" * 998 + b'"')
    assert (status, answer["error"]["code"]) == (200, -32600)


async def test_the_bodies_of_open_requests_are_bounded_together(serve: Serve, runtime: ScriptedRuntime) -> None:
    account = MemoryAccount(3 << 20)
    server = await serve(account=account)
    stored = await server.call("blobs/put", {"data": json.loads(str(FLOW.content)), "blobType": "flow"})
    params = {"flowId": stored["blobId"], "inputs": ["x" * 300_000], "wait": True}
    waiting = asyncio.create_task(server.post([{"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": params}]))
    await runtime.watched(1)
    status, headers, answer = await server.post(b" " * 450_000)
    assert (status, headers["Retry-After"], answer["error"]["code"]) == (429, "1", -32014)
    assert (await server.post(b" " * 2_000))[0] == 200, "small requests always pass"
    await runtime.succeed(0)
    await waiting
    assert account.held == 0
    status, _, answer = await server.post(b" " * 450_000)
    assert (status, answer["error"]["code"]) == (200, -32700)


async def test_a_submit_that_waits_for_its_run_holds_no_body(serve: Serve, runtime: ScriptedRuntime) -> None:
    account = MemoryAccount(3 << 20)
    server = await serve(account=account)
    waiting = asyncio.create_task(server.submit(wait=True, inputs=["x" * 300_000]))
    await runtime.watched(1)
    assert account.held == 0
    await runtime.succeed(0)
    await waiting


async def test_open_requests_are_bounded(serve: Serve, service: RunsService, runtime: ScriptedRuntime) -> None:
    server = await serve(HttpLimits(requests=2))
    run = await server.submit()
    params = {"runId": run["runId"], "wait": True}
    waiting = [asyncio.create_task(server.call("runs/get", params)) for _ in range(2)]
    await followed(service, 2)
    status, headers, answer = await server.post({})
    assert (status, headers["Retry-After"], answer["error"]["code"]) == (429, "1", -32014)
    status, _, answer = await server.request("GET", f"/api/v1/blobs/{MISSING_BLOB}")
    assert (status, answer["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert (await server.request("GET", "/health"))[0] == 200
    await runtime.succeed(0)
    await runtime.succeed(1)
    await asyncio.gather(*waiting)
    assert (await server.post({}))[0] == 200


async def test_waiting_calls_keep_no_other_call_out(
    server: Server, service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await server.submit()
    params = {"runId": run["runId"], "wait": True}
    waiting = [asyncio.create_task(server.call("runs/get", params)) for _ in range(300)]
    await followed(service, 300)
    assert (await server.submit())["status"] == "pending"
    await runtime.succeed(0, run_id=run["runId"])
    await runtime.succeed(1, run_id=run["runId"])
    assert {answer["status"] for answer in await asyncio.gather(*waiting)} == {"success"}


async def test_a_flood_of_requests_leaves_the_loop_to_others(server: Server) -> None:
    """However many requests have arrived, an iteration of the loop begins to work on one of them."""
    begun = 0
    answer = server.methods.answer

    async def counting(calls: jsonrpc.Call | jsonrpc.Batch, held: Held, origin: Origin) -> RpcAnswer:
        nonlocal begun
        begun += 1
        return await answer(calls, held, origin)

    server.methods.answer = counting  # type: ignore[method-assign]
    flood = [asyncio.create_task(server.post({})) for _ in range(100)]
    counts = [0]
    while begun < 100:
        await asyncio.sleep(0)
        counts.append(begun)
    assert max(after - before for before, after in pairwise(counts)) == 1
    assert {status for status, _, _ in await asyncio.gather(*flood)} == {200}


async def test_a_client_that_leaves_leaves_nothing_behind(serve: Serve, runtime: ScriptedRuntime) -> None:
    server = await serve(HttpLimits(requests=1))
    run = await server.submit()
    leaving = asyncio.create_task(server.call("runs/get", {"runId": run["runId"], "wait": True}))
    await runtime.watched(1)
    leaving.cancel()
    await runtime.watched(0)
    await runtime.succeed(0)
    await runtime.succeed(1)
    assert (await server.call("runs/get", {"runId": run["runId"], "wait": True}))["status"] == "success"
    await server.session.close()
    await server.front.stop(600)
    await all_ended()


# Blobs


async def test_a_blob_of_json_comes_back_in_either_form(server: Server) -> None:
    data = b'{"b":1,"a":[1e400,12345678901234567890]}'
    status, _, stored = await server.post(b'{"data": ' + data + b' ,"blobType":"data"}', "/api/v1/blobs")
    assert status == 200
    assert re.fullmatch("[0-9a-f]{64}", stored["blobId"])
    for blob_id in (stored["blobId"], f"sha256:{stored['blobId']}"):
        path = f"/api/v1/blobs/{blob_id}"
        async with server.session.get(server.url + path) as response:
            text = await response.read()
        assert b'"data":' + data in text
        status, headers, content = await server.request("GET", path, headers={"Accept": BINARY})
        assert (status, headers["Content-Type"], content) == (200, BINARY, data)
    assert json.loads(text)["blobType"] == "data"
    assert json.loads(text)["blobId"] == stored["blobId"]


async def test_a_binary_blob_comes_back(server: Server) -> None:
    content = bytes(range(256))
    status, _, stored = await server.post(content, "/api/v1/blobs", headers={"Content-Type": BINARY})
    assert status == 200
    path = f"/api/v1/blobs/{stored['blobId']}"
    status, _, got = await server.request("GET", path, headers={"Accept": BINARY})
    assert (status, got) == (200, content)
    status, _, answer = await server.request("GET", path)
    assert (status, answer["blobType"]) == (200, "binary")
    status, _, again = await server.post({"data": answer["data"], "blobType": "binary"}, "/api/v1/blobs")
    assert again["blobId"] == stored["blobId"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b"{}", "data"),
        (b'{"data":NaN}', ""),
        (b'{"data":1,"blobType":7}', "blobType"),
    ],
)
async def test_malformed_blobs_are_refused(server: Server, body: bytes, named: str) -> None:
    status, _, answer = await server.post(body, "/api/v1/blobs")
    assert status == 400
    assert (answer["error"]["code"], answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert named in answer["error"]["message"]


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}])
async def test_blobs_of_other_types_are_refused(server: Server, headers: dict[str, str]) -> None:
    status, _, answer = await server.post({"data": 1}, "/api/v1/blobs", headers=headers)
    assert (status, answer["error"]["data"]["reason"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("blob_id", "status", "reason"),
    [
        (MISSING_BLOB, 404, "BLOB_NOT_FOUND"),
        ("blob", 400, "INVALID_BLOB_ID"),
        ("", 400, "INVALID_BLOB_ID"),
        ("..%2f..%2fetc", 400, "INVALID_BLOB_ID"),
    ],
)
async def test_blobs_that_are_not_there(server: Server, blob_id: str, status: int, reason: str) -> None:
    got, _, answer = await server.request("GET", f"/api/v1/blobs/{blob_id}")
    assert (got, answer["error"]["data"]["reason"]) == (status, reason)


# Paths, health and what is no HTTP


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 405),
        ("OPTIONS", "/", 405),
        ("PUT", "/api/v1/blobs", 405),
        ("DELETE", f"/api/v1/blobs/{MISSING_BLOB}", 405),
        ("POST", "/health", 404),
        ("GET", "/api/v1/runs", 404),
        ("POST", "//", 404),
    ],
)
async def test_other_paths_and_methods_are_refused(server: Server, method: str, path: str, status: int) -> None:
    got, headers, answer = await server.request(method, path)
    assert (got, headers["Content-Type"]) == (status, "application/json")
    assert answer["error"]["message"]
    assert ("Allow" in headers) == (status == 405)


async def test_health_turns_at_the_drain_and_everything_else_goes_on(server: Server) -> None:
    assert (await server.request("GET", "/health"))[::2] == (200, {"status": "healthy"})
    assert (await server.request("HEAD", "/health"))[0] == 200
    await server.front.drain()
    assert (await server.request("GET", "/health"))[::2] == (503, {"status": "draining"})
    assert (await server.submit())["status"] == "pending"


async def test_no_answer_tells_what_the_server_is_made_of(server: Server) -> None:
    answers = [
        await server.post({}),
        await server.post({"jsonrpc": "2.0", "method": "none"}),
        await server.request("GET", "/health"),
        await server.request("GET", "/none"),
        await server.request("GET", f"/api/v1/blobs/{MISSING_BLOB}"),
    ]
    assert {headers["Server"] for _, headers, _ in answers} == {"runs-gateway"}


POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("rubbish", "status", "told"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0"),
        (b"GET\r\n\r\n", 400, "method"),
        (b"GET / \r\n\r\n", 400, "request line"),
        (b"GET / HTTP/9.9\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0"),
        (b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0"),
        (b"GET /health HTTP/0.9\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "no Host"),
        (b"GET x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "path"),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "8,190 bytes"),
        (POST + b"Host: y\r\n\r\n", 400, "more than one header Host"),
        (POST + b"Content-Length: -1\r\n\r\n", 400, "Content-Length is no number"),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400, "more than one header Content-Length"),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", 400, "both"),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400, "Transfer-Encoding"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, "chunked"),
        (POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "more than one header"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400, "chunk"),
        (POST + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n", 400, "8,190 bytes"),
        (POST + b"x:\r\n" * 200 + b"\r\n", 400, "more than 128 headers"),
        (POST + b"x y: z\r\n\r\n", 400, "header"),
    ],
)
async def test_what_is_no_http_gets_an_answer_without_internals(
    server: Server, rubbish: bytes, status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await server.connect()
    writer.write(rubbish)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"aiohttp" not in head + body
    assert told in json.loads(body)["error"]["message"]
    assert not caplog.records
    assert (await server.post({}))[0] == 200


async def test_a_broken_chunked_body_is_refused(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"
    )
    head = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert re.match(rb"HTTP/1\.[01] 400 ", head)
    assert (await server.post({}))[0] == 200


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_forgotten(serve: Serve) -> None:
    server = await serve(HttpLimits(requests=1))
    _, writer = await server.connect()
    writer.write(POST + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    while (await server.post({}))[0] != 429:
        pass
    writer.close()
    await writer.wait_closed()
    while (await server.post({}))[0] != 200:
        pass


async def test_defects_are_told_as_an_id_alone(
    server: Server, runtime: ScriptedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    await runtime.break_down(ConnectionError("the secret"))
    answers = [
        (500, await server.request("GET", f"/api/v1/blobs/{MISSING_BLOB}")),
        (500, await server.post({"data": 1}, "/api/v1/blobs")),
        (200, await server.post({"jsonrpc": "2.0", "id": 1, "method": "blobs/put", "params": {"data": 1}})),
    ]
    for expected, (status, _, answer) in answers:
        assert status == expected
        found = re.fullmatch("internal error, id ([0-9a-f]{32})", answer["error"]["message"])
        assert found is not None
        assert found[1] in caplog.text
        assert "secret" not in json.dumps(answer)


# Life of the server


async def test_a_stop_lets_a_call_finish(server: Server, runtime: ScriptedRuntime) -> None:
    run = await server.submit()
    waiting = asyncio.create_task(server.call("runs/get", {"runId": run["runId"], "wait": True}))
    await runtime.watched(1)
    stopping = asyncio.create_task(server.front.stop(600))
    await asyncio.sleep(0)
    await runtime.succeed(0)
    await runtime.succeed(1)
    assert (await waiting)["status"] == "success"
    await stopping
    with pytest.raises(aiohttp.ClientConnectionError):
        await server.post({})


async def test_a_drain_ends_waiting_calls_with_a_hint_to_retry(server: Server, runtime: ScriptedRuntime) -> None:
    run = await server.submit()
    call = {"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": run["runId"], "wait": True}}
    waiting = asyncio.create_task(server.post(call))
    await runtime.watched(1)
    await runtime.drain()
    status, _, answer = await waiting
    assert (status, answer["error"]["code"], answer["error"]["data"]["retryAfterSecs"]) == (200, -32015, 1.0)


async def test_a_stop_cancels_calls_that_do_not_finish(server: Server, runtime: ScriptedRuntime) -> None:
    run = await server.submit()
    waiting = asyncio.create_task(server.call("runs/get", {"runId": run["runId"], "wait": True}))
    await runtime.watched(1)
    await server.front.stop(0)
    await runtime.watched(0)
    with pytest.raises(aiohttp.ClientError):
        await waiting


async def test_an_address_in_use_is_an_os_error(server: Server, service: RunsService) -> None:
    second = HttpFront(server.methods, server.front.address)
    with pytest.raises(OSError, match="Address already in use"):
        await second.start()
    await second.stop(0)


@pytest.mark.parametrize("address", ["", "localhost", ":80", "localhost:http", "localhost:-1", "localhost:65536"])
async def test_a_malformed_address_is_named(server: Server, service: RunsService, address: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(address))):
        await HttpFront(server.methods, address).start()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_it_listens_on_ipv6(serve: Serve) -> None:
    server = await serve(address="[::1]:0")
    assert re.fullmatch(r"\[::1\]:[1-9]\d*", server.front.address)
    assert (await server.post({}))[0] == 200


async def test_it_listens_on_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/gateway.sock"
    server = await serve(address=address)
    assert server.front.address == address
    assert (await server.post({}))[0] == 200
