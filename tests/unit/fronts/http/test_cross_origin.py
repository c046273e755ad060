"""Pages of other sites: which may call, and what their browsers are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.host_check import ServedHosts
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.scripted_runtime import MISSING_BLOB, ScriptedRuntime

PAGE = "https://app.example"
BODY = b'{"jsonrpc":"2.0","id":1,"method":"runs/list","params":{}}'
JSON = {"Content-Type": "application/json"}
ALLOW = "Access-Control-Allow-Origin"
CREDENTIALS = "Access-Control-Allow-Credentials"


@asynccontextmanager
async def serving(*origins: str) -> AsyncIterator[str]:
    service = RunsService(ScriptedRuntime(), grace=0)
    front = HttpFront(JsonRpcMethods(RunsServices(service)), "127.0.0.1:0", hosts=ServedHosts(origins=origins))
    await front.start()
    yield f"http://{front.address}"
    await front.stop(0)
    await service.close()


async def answer(method: str, url: str, **headers: str) -> aiohttp.ClientResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as http:
        body = BODY if method == "POST" else None
        async with http.request(method, url, data=body, headers={**JSON, **named}) as response:
            await response.read()
            return response


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("GET", f"/api/v1/blobs/{MISSING_BLOB}"),
        ("GET", "/health"),
        ("GET", "/absent"),
        ("PUT", "/"),
    ],
)
async def test_every_answer_to_a_page_that_may_call_says_so(method: str, path: str) -> None:
    async with serving(PAGE, "http://localhost:5173") as url:
        told = (await answer(method, url + path, Origin=PAGE)).headers
        assert told[ALLOW] == PAGE
        assert told[CREDENTIALS] == "true"
        assert told.getall("Vary") == ["Origin"]
        assert "grpc-status-details-bin" in told["Access-Control-Expose-Headers"]
        unknown = (await answer(method, url + path)).headers
        assert ALLOW not in unknown
        assert unknown["Vary"] == "Origin"  # What is kept for others is not for that page.


async def test_other_pages_are_refused_and_told_nothing() -> None:
    async with serving(PAGE) as url:
        for origin in ("https://evil.example", "http://app.example", "https://app.example:444", "null"):
            for method in ("POST", "OPTIONS"):
                refused = await answer(method, url, Origin=origin, Access_Control_Request_Method="POST")
                assert refused.status == 403
                assert ALLOW not in refused.headers
                assert CREDENTIALS not in refused.headers


async def test_a_page_that_is_refused_is_not_told_of_another_one() -> None:
    async with serving(PAGE) as url:
        twice = f"Origin: {PAGE}\r\nOrigin: https://evil.example\r\n"
        told = await raw(url, f"POST / HTTP/1.1\r\nHost: localhost\r\n{twice}Connection: close\r\n\r\n")
        assert told.startswith("HTTP/1.1 403 ")
        assert ALLOW not in told


MALFORMED = [
    "GET /?{long} HTTP/1.1\r\nHost: x\r\n{origin}\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\n{origin}X-Long: {long}\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\n{many}{origin}\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\n{origin}Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\n{origin}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
]


@pytest.mark.parametrize("sent", MALFORMED)
async def test_what_is_refused_before_it_is_a_request_tells_the_page_as_well(sent: str) -> None:
    filled = {"long": "x" * 9_000, "many": "".join(f"X-{number}: 1\r\n" for number in range(130))}
    async with serving(PAGE) as url:
        told = await raw(url, sent.format(origin=f"Origin: {PAGE}\r\n", **filled))
        assert told.startswith("HTTP/1.1 400 ")
        assert told.count(f"\r\n{ALLOW}: {PAGE}\r\n") == told.count("\r\nVary: Origin\r\n") == 1
        for origin in ("Origin: https://evil.example\r\n", ""):
            other = await raw(url, sent.format(origin=origin, **filled))
            assert ALLOW not in other
            assert "\r\nVary: Origin\r\n" in other
    async with serving("*") as url:
        assert f"\r\n{ALLOW}: *\r\n" in await raw(url, sent.format(origin="", **filled))
    async with serving() as url:
        assert "Vary" not in await raw(url, sent.format(origin=f"Origin: {PAGE}\r\n", **filled))


async def raw(url: str, sent: str) -> str:
    """What comes for what is sent, up to the end."""
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").rsplit(":", 1))
    try:
        writer.write(sent.encode())
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_browsers_are_told_what_pages_may_send() -> None:
    async with serving(PAGE) as url:
        asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
        told = await answer("OPTIONS", f"{url}/runs.v1.RunsService/SubmitRun", Origin=PAGE, **asked)
        assert told.status == 204
        assert told.headers[ALLOW] == PAGE
        assert told.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
        sent = told.headers["Access-Control-Allow-Headers"].split(", ")
        assert {"authorization", "content-type", "connect-protocol-version", "x-grpc-web", "traceparent"} <= set(sent)
        assert "*" not in sent
        assert told.headers["Access-Control-Max-Age"] == "7200"
        # One that asks for nothing is no preflight.
        assert (await answer("OPTIONS", url, Origin=PAGE)).status == 405


async def test_any_page_may_call_without_credentials() -> None:
    async with serving("*") as url:
        for origin in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {}):
            told = await answer("POST", url, **origin)
            assert told.status == 200
            assert told.headers[ALLOW] == "*"
            assert CREDENTIALS not in told.headers
            assert "Vary" not in told.headers  # It is the same for all.
        asked = await answer("OPTIONS", url, Origin="https://a.example", Access_Control_Request_Method="POST")
        assert asked.status == 204
        assert CREDENTIALS not in asked.headers
        # A name that leads here is another matter.
        assert (await answer("POST", url, Host="evil.example", Origin="https://evil.example")).status == 421


async def test_without_origins_nobody_is_told_anything() -> None:
    async with serving() as url:
        told = await answer("POST", url, Origin="http://localhost:3000")
        assert told.status == 200
        assert not {ALLOW, "Vary", "Access-Control-Expose-Headers"} & told.headers.keys()
        asked = await answer("OPTIONS", url, Origin="http://localhost:3000", Access_Control_Request_Method="POST")
        assert asked.status == 405


async def test_two_origins_are_none() -> None:
    async with serving(PAGE) as url, aiohttp.ClientSession() as http:
        headers = [("Origin", PAGE), ("Origin", "https://evil.example"), *JSON.items()]
        async with http.post(url, data=BODY, headers=headers) as refused:
            assert refused.status == 403
