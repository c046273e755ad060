"""The overview of a real gateway, over real connections: with identities, with workers, while it stops."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.client import AsyncRunsClient, RunNotFound
from tests.support.command_line import CommandLine, Serving
from tests.support.identities import bearer, token_entry, token_of, write_tokens

MODES = [
    pytest.param([], id="one process"),
    pytest.param(["--workers", "2"], id="workers"),
]
SPEAKER = "/t=sh -c 'echo said >&2; exit 3'"


@asynccontextmanager
async def looking(serving: Serving, token: str | None = None) -> AsyncIterator[AsyncGenerator[Any, None]]:
    """The events that a client is sent, over a connection of its own."""
    headers = {} if token is None else {"Authorization": bearer(token)}
    async with (
        aiohttp.ClientSession(read_bufsize=1 << 24, headers=headers) as session,
        session.get(f"{serving.http}/ui/overview", raise_for_status=True) as response,
    ):
        assert response.content_type == "text/event-stream"
        async with aclosing(events_of(response)) as events:
            yield events


async def events_of(response: aiohttp.ClientResponse) -> AsyncGenerator[Any, None]:
    async for line in response.content:
        if line.startswith(b"data: "):
            yield json.loads(line[len(b"data: ") :])


async def status_of(serving: Serving, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": bearer(token)}
    url = f"{serving.http}/ui/overview"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        return response.status


@pytest.mark.parametrize("mode", MODES)
async def test_a_gateway_tells_how_it_is(tmp_path: Path, mode: list[str]) -> None:
    settings = ("--state", ":memory:", "--ui", "--component", SPEAKER, *mode)
    async with CommandLine(tmp_path).serving(*settings) as serving, asyncio.timeout(60), looking(serving) as events:
        event = await anext(events)
        times = [event["time"]]
        while not event["components"][0]["lines"]:
            event = await anext(events)
            times.append(event["time"])
        (component,) = event["components"]
        assert (component["prefix"], component["up"], component["lines"][0]["text"]) == ("/t", False, "said")
        assert event["runtime"] == {"kind": "embedded", "up": True}
        assert event["workers"] == (2 if mode else 1)
        assert event["uptime_seconds"] > 0
        times.append((await anext(events))["time"])
        assert times == sorted(set(times))


@pytest.mark.parametrize("mode", MODES)
async def test_what_clients_do_is_told_wherever_they_do_it(tmp_path: Path, mode: list[str]) -> None:
    commands = CommandLine(tmp_path)
    async with (
        commands.serving("--state", ":memory:", "--ui", *mode) as serving,
        asyncio.timeout(60),
        looking(serving) as events,
        AsyncRunsClient(serving.grpc) as client,
    ):
        flow_id = await client.put_flow({"steps": [], "output": {"$input": "$"}})
        event = await anext(events)
        assert event["calls_per_second"]["grpc"] is None
        while not event["runs_per_second"]["submitted"]:
            await client.submit_and_wait(flow_id, [1])
            event = await anext(events)
        assert event["calls_per_second"]["grpc"] > 0
        assert 0 < event["latency_seconds"]["p50"] <= event["latency_seconds"]["p99"]
        assert event["errors_per_second"] == 0
        assert 0 < event["memory"]["used"] < event["memory"]["limit"]
        assert event["event_loop_turn_seconds"]["p50"] > 0
        while not event["errors_per_second"]:
            with pytest.raises(RunNotFound):
                await client.get("01900000-0000-7000-8000-000000000000")
            event = await anext(events)


@pytest.mark.parametrize("mode", MODES)
async def test_where_there_are_identities_the_overview_is_for_administrators(tmp_path: Path, mode: list[str]) -> None:
    tokens = write_tokens(tmp_path / "tokens.toml", token_entry("user"), token_entry("boss", ["admin"]))
    audit = tmp_path / "audit.log"
    settings = ("--state", ":memory:", "--ui", "--tokens", str(tokens), "--audit-log", str(audit), *mode)
    async with CommandLine(tmp_path).serving(*settings) as serving, asyncio.timeout(60):
        statuses = [await status_of(serving, token) for token in (None, "made-up", token_of("user"))]
        assert statuses == [401, 401, 403]
        async with looking(serving, token_of("boss")) as events:
            assert (await anext(events))["runtime"]["up"] is True
    entries = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [entry["method"] for entry in entries if entry.get("identity") == "user"] == ["GET /ui/overview"]


@pytest.mark.parametrize("mode", MODES)
async def test_without_the_page_there_is_no_overview(tmp_path: Path, mode: list[str]) -> None:
    async with CommandLine(tmp_path).serving("--state", ":memory:", *mode) as serving:
        assert await status_of(serving, None) == 404


@pytest.mark.parametrize("mode", MODES)
async def test_streams_end_in_order_when_the_gateway_stops(tmp_path: Path, mode: list[str]) -> None:
    async with CommandLine(tmp_path).serving("--state", ":memory:", "--ui", *mode) as serving, asyncio.timeout(60):
        async with looking(serving) as one, looking(serving) as other:
            await anext(one)
            await anext(other)
            serving.process.terminate()
            # A body that is cut would raise.
            assert [event async for event in one if "error" in event] == []
            assert [event async for event in other if "error" in event] == []
        assert await serving.process.wait() == 0
