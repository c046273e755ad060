import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from itertools import product
from typing import Any

import aiohttp
import pytest

from gateway.adapter import status_to_json
from gateway.core.model import ItemError, ItemResult, SubmitParams
from gateway.core.runtime import Page
from gateway.fronts.http.event_stream import is_preferred
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.event_stream import HEADERS, Event, folded, following
from tests.support.followers import followed, unwatched
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime
from tests.support.tasks import LIMIT, all_ended

Serve = Callable[..., Awaitable["Server"]]

ORDERS = ("byIndex", "byCompletion")


class Server:
    """A front, and a client of it."""

    def __init__(self, front: HttpFront, service: RunsService) -> None:
        self.front = front
        self.service = service
        self.url = f"http://{front.address}/"
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), read_bufsize=1 << 26)

    async def submit(self, inputs: int = 2) -> str:
        flow_id = await self.service.put_blob(FLOW)
        return (await self.service.submit(SubmitParams(flow_id=flow_id, inputs=["null"] * inputs))).run_id

    async def post(self, body: object, accept: str | None = None) -> tuple[int, str | None, bytes]:
        headers = {"Content-Type": "application/json"} | ({} if accept is None else {"Accept": accept})
        async with self.session.post(self.url, data=json.dumps(body), headers=headers) as response:
            return response.status, response.headers.get("Content-Type"), await response.read()

    async def get(self, **params: object) -> Any:
        """The single answer of runs/get."""
        _, kind, body = await self.post({"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": params})
        assert kind == "application/json"
        return json.loads(body)

    def follow(
        self, *, last_event_id: str | None = None, **params: Any
    ) -> AbstractAsyncContextManager[AsyncGenerator[Event, None]]:
        """An event stream of runs/get with `wait`."""
        return following(self.session, self.url, {"wait": True, **params}, last_event_id=last_event_id)

    async def events(self, **params: Any) -> tuple[list[Event], Event]:
        """All notifications of a stream, and its response."""
        async with self.follow(**params) as events:
            *notifications, response = [event async for event in events]
        return notifications, response


def raw_request(params: object, headers: bytes, *, version: bytes = b"1.1") -> bytes:
    """A request for an event stream, as it goes over the wire."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": params}).encode()
    named = b"".join(f"{name}: {value}\r\n".encode() for name, value in HEADERS.items())
    length = b"Content-Length: %d" % len(body)
    return b"POST / HTTP/%b\r\nHost: localhost\r\n%b%b\r\n%b\r\n\r\n%b" % (version, named, headers, length, body)


@pytest.fixture
async def serve(service: RunsService) -> AsyncIterator[Serve]:
    servers: list[Server] = []

    async def start(limits: HttpLimits | None = None) -> Server:
        front = HttpFront(JsonRpcMethods(RunsServices(service)), "127.0.0.1:0", limits=limits)
        await front.start()
        servers.append(Server(front, service))
        return servers[-1]

    yield start
    for server in servers:
        await server.session.close()
        await server.front.stop(0)


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve()


# Who gets a stream


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("text/event-stream, application/json;q=0.9", True),
        ("text/event-stream;q=0.5,*/*;q=0.1", True),
        ("text/event-stream;q=0.5, application/json;q=0.1, */*", True),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("application/json, text/event-stream", False),
        ("text/event-stream, application/json", False),
        ("text/event-stream, */*", False),
        ("text/event-stream;q=0.5, application/*;q=0.6", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=nan", False),
        ("text/event-stream;q=x", False),
        (";;q=,,=;", False),
    ],
)
def test_who_prefers_a_stream(accept: str, *, preferred: bool) -> None:
    assert is_preferred(accept) == preferred


async def test_everything_else_is_answered_as_ever(server: Server, runtime: ScriptedRuntime) -> None:
    run_id = await server.submit()
    await runtime.succeed(0)
    await runtime.succeed(1)
    get = {"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": run_id, "includeResults": True}}
    wait = {**get, "params": {"runId": run_id, "wait": True}}
    bodies: list[object] = [
        get,
        [wait],
        {name: member for name, member in wait.items() if name != "id"},
        {**get, "method": "none"},
        {**get, "method": "blobs/put", "params": {"data": 1}},
        {**wait, "params": {"runId": MISSING_RUN, "wait": True}},
        {**wait, "params": {"runId": "x", "wait": True}},
        {**wait, "params": {"runId": run_id, "wait": True, "resumeToken": 7}},
        {**wait, "id": {}},
        [],
        7,
    ]
    for body in bodies:
        assert await server.post(body, "text/event-stream") == await server.post(body)
    for accept in (None, "*/*", "application/json, text/event-stream"):
        assert (await server.post(wait, accept))[1] == "application/json"
    assert (await server.post(wait, "text/event-stream"))[1] == "text/event-stream"


# What a stream holds


@pytest.mark.parametrize(("order", "include"), list(product(ORDERS, (False, True))))
async def test_a_stream_folds_to_its_response_and_to_the_single_answer(
    server: Server, runtime: ScriptedRuntime, order: str, *, include: bool
) -> None:
    params: dict[str, Any] = {"runId": await server.submit(3), "includeResults": include, "resultOrder": order}
    async with server.follow(**params) as events:
        notifications = [await anext(events)]
        for change in (
            runtime.start(2),
            runtime.succeed(2, '{"a": 1e400}'),
            runtime.fail(0, ItemError(code=-32100, message="no")),
            runtime.succeed(1),
        ):
            await change
            notifications.append(await anext(events))
        (response,) = [event async for event in events]
    assert folded(notifications) == response.message["result"]
    assert response.message == await server.get(**params)
    assert response.id is None
    assert response.message["id"] == 1
    statuses = [event.params for event in notifications]
    assert [status["status"] for status in statuses] == ["pending", "running", "running", "running", "failed"]
    assert [status["revision"] for status in statuses] == [1, 2, 3, 4, 5]
    sent = [[result["itemIndex"] for result in status.get("results", [])] for status in statuses]
    if include:
        assert sent == {"byIndex": [[], [], [], [0], [1, 2]], "byCompletion": [[], [], [2], [0], [1]]}[order]
        assert len({event.id for event in notifications}) == 5
    assert not {"heartbeat", "restarted"} & {name for status in statuses for name in status}
    await unwatched(server.service)


async def test_a_stream_says_what_it_is_and_is_kept_by_nobody(server: Server, runtime: ScriptedRuntime) -> None:
    run_id = await server.submit(0)
    body = f'{{"jsonrpc":"2.0","id":1.0,"method":"runs/get","params":{{"runId":"{run_id}","wait":true}}}}'
    async with server.session.post(server.url, data=body, headers=HEADERS) as response:
        text = (await response.read()).decode()
    headers = response.headers
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-store, no-transform", "no")
    assert headers["Server"] == "runs-gateway"
    first, second, rest = text.split("\n\n")
    assert first.startswith("id: ")
    assert '\ndata: {"jsonrpc":"2.0","method":"runs/status","params":{"runId":' in first
    assert first.endswith(',"revision":1,"finishedPrefix":0,"resultCount":0}}')
    assert second.startswith('data: {"jsonrpc":"2.0","id":1.0,"result":{"runId":')
    assert rest == ""


async def test_line_breaks_in_payloads_stay_inside_of_their_event(server: Server, runtime: ScriptedRuntime) -> None:
    run_id = await server.submit(1)
    await runtime.succeed(0, '{"a":\n\n 1,\r\n"id: x":\r"\\n"}')
    notifications, response = await server.events(runId=run_id, includeResults=True)
    assert response.message["result"]["results"][0]["result"]["value"] == {"a": 1, "id: x": "\n"}
    assert '{"a":\n\n 1,\n"id: x":\n"\\n"}' in response.data
    assert folded(notifications) == response.message["result"]


async def test_many_results_come_in_many_events(server: Server, runtime: ScriptedRuntime) -> None:
    run_id = await server.submit(3_000)
    for index in reversed(range(3_000)):
        await runtime.succeed(index, f'"{index}"' if index else f'"{"x" * 200_000}"')
    notifications, response = await server.events(runId=run_id, includeResults=True)
    assert max(len(event.params["results"]) for event in notifications) <= 64
    assert len({event.id for event in notifications}) == len(notifications)
    assert folded(notifications) == response.message["result"]
    assert response.message == await server.get(runId=run_id, includeResults=True)


async def test_time_that_is_up_ends_a_stream_with_the_current_status(server: Server, runtime: ScriptedRuntime) -> None:
    run_id = await server.submit()
    await runtime.succeed(1)
    notifications, response = await server.events(runId=run_id, includeResults=True, timeoutSecs=0)
    assert folded(notifications) == response.message["result"]
    assert (response.message["result"]["status"], len(response.message["result"]["results"])) == ("running", 1)


async def test_a_heartbeat_tells_revision_and_place(server: Server, runtime: ScriptedRuntime) -> None:
    run_id = await server.submit()
    await runtime.succeed(0)
    async with server.follow(runId=run_id, includeResults=True, heartbeatSecs=0.1) as events:
        first, second = await anext(events), await anext(events)
    assert "heartbeat" not in first.params
    expected = {**first.params, "heartbeat": True}
    del expected["results"]
    assert second.params == expected
    assert second.id == first.id


# Going on


@pytest.mark.parametrize("order", ORDERS)
async def test_a_stream_that_was_cut_goes_on_where_it_was(server: Server, runtime: ScriptedRuntime, order: str) -> None:
    run_id = await server.submit(200)
    for index in range(0, 200, 2):
        await runtime.succeed(index)
    params: dict[str, Any] = {"runId": run_id, "includeResults": True, "resultOrder": order}
    async with server.follow(**params) as events:
        live = [await anext(events)]
        for index in range(1, 200, 2):
            await runtime.succeed(index)
        live += [event async for event in events][:-1]
    _, response = await server.events(**params)
    for cut in range(1, len(live) + 1):
        token = live[cut - 1].id
        rest, again = await server.events(**params, last_event_id=token)
        assert folded([*live[:cut], *rest]) == again.message["result"] == response.message["result"]
        by_parameter, _ = await server.events(**params, resumeToken=token)
        assert by_parameter == rest
        both, _ = await server.events(**params, resumeToken="forged", last_event_id=token)
        assert both == rest


@pytest.mark.parametrize("token", ["x", "====", "AAAA", "\u00fc", "A" * 46, "A" * 5_000])
async def test_a_token_that_is_none_starts_anew_and_says_so(
    server: Server, runtime: ScriptedRuntime, token: str
) -> None:
    run_id = await server.submit(200)
    for index in range(200):
        await runtime.succeed(index)
    whole, _ = await server.events(runId=run_id, includeResults=True)
    for arguments in ({"resumeToken": token}, {"last_event_id": token}):
        notifications, response = await server.events(runId=run_id, includeResults=True, **arguments)
        assert [event.params.get("restarted", False) for event in notifications] == [True] + [False] * (len(whole) - 1)
        assert folded(notifications) == folded(whole) == response.message["result"]


async def test_a_header_that_is_no_text_is_no_token(server: Server) -> None:
    host, _, port = server.front.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    params = {"runId": await server.submit(0), "wait": True}
    writer.write(raw_request(params, b"Connection: close\r\nLast-Event-ID: \xff\xfe"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert b'"restarted":true' in answer


# Sharing


async def test_what_is_sent_is_written_once_for_all(
    server: Server, runtime: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = status_to_json.results_to_json

    def counting(results: list[ItemResult]) -> str:
        written.extend(result.item_index for result in results)
        return write(results)

    monkeypatch.setattr(status_to_json, "results_to_json", counting)
    run_id = await server.submit(2)
    following = [
        asyncio.create_task(server.events(runId=run_id, includeResults=True, resultOrder="byCompletion"))
        for _ in range(20)
    ]
    await followed(server.service, 20)
    await runtime.succeed(1)
    await runtime.succeed(0)
    streams = await asyncio.gather(*following)
    assert all(folded(notifications) == response.message["result"] for notifications, response in streams)
    # At most: each result by itself, and both from the beginning.
    assert len(written) <= 5


# Ends


async def test_a_drain_is_told_as_the_response(server: Server, runtime: ScriptedRuntime) -> None:
    async with server.follow(runId=await server.submit()) as events:
        await anext(events)
        await runtime.drain()
        (response,) = [event async for event in events]
    assert (response.id, response.message["id"]) == (None, 1)
    error = response.message["error"]
    assert (error["code"], error["data"]["retryAfterSecs"]) == (-32015, 1.0)
    await unwatched(server.service)


async def test_a_defect_is_told_as_an_id_alone(
    server: Server, runtime: ScriptedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.follow(runId=await server.submit()) as events:
        await anext(events)
        await runtime.break_down(ConnectionError("the secret"))
        (response,) = [event async for event in events]
    assert response.message["error"]["code"] == -32603
    assert "secret" not in response.data
    assert response.message["error"]["message"].rpartition(" ")[2] in caplog.text
    wait = {"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": MISSING_RUN, "wait": True}}
    status, kind, body = await server.post(wait, "text/event-stream")
    assert (status, kind, json.loads(body)["error"]["code"]) == (200, "application/json", -32603)
    await unwatched(server.service)


async def test_a_response_that_cannot_be_completed_is_cut(
    server: Server, runtime: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Results of 20 MiB are read twice, since the hub keeps less: for the notifications, and for the response."""
    reads = 0
    results = runtime.results

    async def failing(run_id: str, page: Page) -> list[ItemResult]:
        nonlocal reads
        reads += 1
        if reads == 23:
            raise OSError("the secret")
        return await results(run_id, page)

    run_id = await server.submit(20)
    for index in range(20):
        await runtime.succeed(index, f'"{"x" * (1 << 20)}"')
    monkeypatch.setattr(runtime, "results", failing)
    async with server.follow(runId=run_id, includeResults=True) as events:
        seen = [await anext(events) for _ in range(20)]
        with pytest.raises(aiohttp.ClientPayloadError):
            await anext(events)
    assert [event.params["results"][0]["itemIndex"] for event in seen] == list(range(20))
    assert "the secret" in caplog.text
    rest, response = await server.events(runId=run_id, includeResults=True, last_event_id=seen[-1].id)
    assert folded([*seen, *rest]) == response.message["result"]


@pytest.mark.parametrize("seen", [1, 2])
async def test_a_client_that_leaves_leaves_nothing_behind(serve: Serve, runtime: ScriptedRuntime, seen: int) -> None:
    server = await serve(HttpLimits(requests=1))
    run_id = await server.submit()
    async with server.follow(runId=run_id, includeResults=True) as events:
        await anext(events)
        await followed(server.service, 1)
        status, _, _ = await server.post({})
        assert status == 429
        for index in range(1, seen):
            await runtime.succeed(index)
            await anext(events)
    await unwatched(server.service)
    await runtime.watched(0)
    while (await server.post({}))[0] != 200:
        pass
    await server.session.close()
    await server.front.stop(600)
    await all_ended()


async def test_a_client_that_never_reads_holds_nobody_up_and_loses_nothing(
    server: Server, runtime: ScriptedRuntime
) -> None:
    run_id = await server.submit(1_000)
    params: dict[str, Any] = {"runId": run_id, "includeResults": True, "resultOrder": "byCompletion"}
    host, _, port = server.front.address.rpartition(":")
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stalled.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stalled, (host, int(port)))
        await loop.sock_sendall(stalled, raw_request({"wait": True, **params}, b"Connection: close"))
        await followed(server.service, 1)
        async with server.follow(**params) as events:
            healthy = [await anext(events)]
            for index in range(1_000):
                await runtime.succeed(index, f'"{"x" * 5_000}"')
                if index % 10 == 0:
                    healthy.append(await anext(events))
            healthy += [event async for event in events]
        stalled.setblocking(True)
        answer = b""
        stream = stalled.makefile("rb")
        answer = await asyncio.to_thread(stream.read)
        stream.close()
    content = _dechunked(answer.partition(b"\r\n\r\n")[2])
    late = [Event(None, block.rpartition(b"data: ")[2].decode()) for block in content.split(b"\n\n")[:-1]]
    assert folded(late[:-1]) == late[-1].message["result"] == folded(healthy[:-1])
    assert len(late) < 1_000


def _dechunked(content: bytes) -> bytes:
    chunks = []
    while content:
        size, _, content = content.partition(b"\r\n")
        chunks.append(content[: int(size, 16)])
        content = content[int(size, 16) + 2 :]
    return b"".join(chunks)


async def test_streams_count_as_open_requests(serve: Serve, runtime: ScriptedRuntime) -> None:
    server = await serve(HttpLimits(requests=2))
    run_id = await server.submit()
    async with server.follow(runId=run_id) as first, server.follow(runId=run_id) as second:
        await anext(first)
        await anext(second)
        wait = {"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": run_id, "wait": True}}
        status, kind, _ = await server.post(wait, "text/event-stream")
        assert (status, kind) == (429, "application/json")
        await runtime.succeed(0)
        await runtime.succeed(1)
        assert [event async for event in first][-1].message["result"]["status"] == "success"


async def test_a_stop_cuts_streams_that_do_not_end(server: Server, runtime: ScriptedRuntime) -> None:
    async with server.follow(runId=await server.submit()) as events:
        await anext(events)
        await server.front.stop(0)
        with pytest.raises(aiohttp.ClientPayloadError):
            await anext(events)
    await unwatched(server.service)


async def test_an_old_client_sees_the_end_by_the_close(server: Server) -> None:
    """HTTP/1.0 knows no chunks, however much a client wants to keep the connection."""
    host, _, port = server.front.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    params = {"runId": await server.submit(0), "wait": True}
    writer.write(raw_request(params, b"Connection: keep-alive", version=b"1.0"))
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.endswith(
        b'"completed":0},"createdAt":"2025-01-15T10:30:00Z","completedAt":"2025-01-15T10:30:00Z"}}\n\n'
    )
