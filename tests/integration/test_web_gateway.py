"""Connect and gRPC-Web on whole gateways: workers, identities, quotas, pages, and the end."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.fronts.web.frames import frame
from tests.support.command_line import CommandLine, finish
from tests.support.identities import bearer, token_entry, token_of, write_tokens

RUNS = "runs.v1.RunsService"
BLOBS = "runs.v1.BlobsService"
JSON = {"Content-Type": "application/json"}
STREAM = {"Content-Type": "application/connect+json"}
FLOW = {"json": '{"name":"echo","steps":[],"output":{"$input":"$"}}', "type": "BLOB_TYPE_FLOW"}
PAGE = "https://app.example"
MODES = pytest.mark.parametrize(
    "options", [(), ("--transport", "native"), ("--workers", "2")], ids=["grpcio", "native", "workers"]
)


async def call(
    session: aiohttp.ClientSession, url: str, path: str, message: object, **headers: str
) -> tuple[int, Any, Any]:
    async with session.post(f"{url}/{path}", json=message, headers=headers) as response:
        return response.status, await response.json(), response.headers


async def next_message(response: aiohttp.ClientResponse) -> tuple[int, Any]:
    """The next frame of a stream of Connect."""
    head = await response.content.readexactly(5)
    return head[0], json.loads(await response.content.readexactly(int.from_bytes(head[1:], "big")))


@MODES
async def test_a_page_of_an_allowed_origin_calls_with_its_token(tmp_path: Path, options: tuple[str, ...]) -> None:
    file = write_tokens(tmp_path / "tokens.toml", token_entry("page"))
    arguments = ("--state", ":memory:", "--tokens", str(file), "--allow-origin", PAGE, *options)
    async with (
        CommandLine(tmp_path).serving(*arguments, env={"TMPDIR": str(tmp_path)}) as serving,
        aiohttp.ClientSession() as session,
    ):
        url = serving.http
        status, error, headers = await call(session, url, f"{BLOBS}/PutBlob", FLOW, Origin=PAGE)
        assert (status, error["code"]) == (401, "unauthenticated")
        assert headers["WWW-Authenticate"] == "Bearer"
        assert headers["Access-Control-Allow-Origin"] == PAGE
        known = {"Origin": PAGE, "Authorization": bearer(token_of("page"))}
        _, put, headers = await call(session, url, f"{BLOBS}/PutBlob", FLOW, **known)
        assert headers["Access-Control-Allow-Origin"] == PAGE
        request = {"flowId": put["blobId"], "inputs": [{"json": "1152921504606846977"}], "wait": True}
        _, submitted, _ = await call(session, url, f"{RUNS}/SubmitRun", request, **known)
        assert submitted["run"]["items"]["success"] == "1"
        asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
        async with session.options(f"{url}/{RUNS}/SubmitRun", headers=asked) as preflight:
            assert preflight.status == 204
        status, _, headers = await call(session, url, f"{RUNS}/ListRuns", {}, Origin="https://evil.example")
        assert status == 403
        assert "Access-Control-Allow-Origin" not in headers


async def test_a_quota_is_told_in_the_form_of_the_protocol(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[[limits]]\nrequests_per_second = 0.001\nburst = 2\n")
    async with (
        CommandLine(tmp_path).serving("--state", ":memory:", "--config", str(file)) as serving,
        aiohttp.ClientSession() as session,
    ):
        answers = [await call(session, serving.http, f"{RUNS}/ListRuns", {}) for _ in range(3)]
        assert [status for status, _, _ in answers] == [200, 200, 429]
        _, error, headers = answers[-1]
        assert error["code"] == "resource_exhausted"
        assert {"google.rpc.QuotaFailure", "google.rpc.RetryInfo"} <= {each["type"] for each in error["details"]}
        assert int(headers["Retry-After"]) > 0


@MODES
async def test_streams_end_when_the_gateway_stops_and_say_that_others_serve(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    async with (
        asyncio.timeout(100),
        CommandLine(tmp_path).serving("--state", ":memory:", "--drain-seconds", "2", *options) as serving,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        body = frame(json.dumps({"addSet": {"name": "all"}}).encode())
        streams = [await session.post(f"{serving.http}/{RUNS}/WatchRuns", data=body, headers=STREAM) for _ in range(4)]
        for stream in streams:
            flags, first = await next_message(stream)
            assert not flags
            assert "caughtUp" in first
        serving.process.send_signal(signal.SIGTERM)
        for stream in streams:
            flags, last = await next_message(stream)
            assert (flags, last["error"]["code"]) == (0x02, "unavailable")
            assert "google.rpc.RetryInfo" in {each["type"] for each in last["error"]["details"]}
            assert await stream.content.read() == b""
        assert (await finish(serving.process)).code == 0
