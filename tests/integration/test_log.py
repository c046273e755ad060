"""The log of a real server, in both formats."""

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest

from tests.support.command_line import CommandLine, Serving

FAILING = "/t=sh -c 'printf \"a\\033b\" >&2; exit 3'"
"""A component server that ends at once, and says so with a control character."""

UNAVAILABLE = "/t: its components are not available: the component server exited with status 3"


async def ended_log(commands: CommandLine, *settings: str, restarts: int = 3) -> list[str]:
    """The log of a gateway that has started the failing server a few times, and has stopped then."""
    lines: list[str] = []
    async with commands.serving("--state", ":memory:", "--component", FAILING, *settings) as serving:
        assert serving.process.stderr is not None
        while restarts:
            line = (await serving.process.stderr.readline()).decode()
            assert line, lines
            lines.append(line)
            restarts -= "starting it again" in line
        return [*lines, *await rest_of(serving)]


async def rest_of(serving: Serving) -> list[str]:
    serving.process.terminate()
    _, rest = await asyncio.wait_for(serving.process.communicate(), 60)
    return rest.decode().splitlines(keepends=True)


async def test_the_log_for_people(tmp_path: Path) -> None:
    log = "".join(await ended_log(CommandLine(tmp_path)))
    assert "\x1b" not in log
    assert log.count(UNAVAILABLE) == 2
    assert " WARNING gateway.components.route: " + UNAVAILABLE in log
    assert "; the last that it printed:\n    a\\x1bb\n" in log
    assert " more like it)\n" in log


async def test_the_log_as_json(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in await ended_log(CommandLine(tmp_path), "--log-format", "json")]
    assert {line["process"] for line in lines} == {"gateway"}
    assert {line["prefix"] for line in lines if "prefix" in line} == {"/t"}
    first, last = (line for line in lines if UNAVAILABLE in line["message"])
    assert (first["level"], "repeats" in first) == ("warning", False)
    assert first["message"].endswith("; the last that it printed:\n    a\\x1bb")
    assert last["message"].endswith(f" ... (and {last['repeats'] - 1} more like it)")
    assert last["repeats"] >= 2
    assert sum(line["message"] == "/t: a\\x1bb" for line in lines) > 2


@pytest.mark.parametrize("form", ["text", "json"])
async def test_workers_write_the_log_as_their_gateway_does(tmp_path: Path, form: str) -> None:
    settings = ("--state", ":memory:", "--workers", "2", "--log-format", form, "--log-level", "debug")
    async with CommandLine(tmp_path).serving(*settings) as serving:
        lines = await rest_of(serving)
    if form == "json":
        assert {json.loads(line)["process"] for line in lines} >= {"worker-1", "worker-2"}
    else:
        assert any(re.match(r"\S+ \S+ DEBUG \S+\[\d+\]: ", line) for line in lines)


async def test_a_call_has_a_line_with_its_size_and_nothing_of_its_headers(tmp_path: Path) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/list", "params": {"_meta": {"baggage": "SECRET é"}}})
    headers = {"Content-Type": "application/json", "baggage": "SECRET without equals", "tracestate": "SECRET"}
    settings = ("--state", ":memory:", "--log-format", "json", "--traces", "otlp", "--log-level", "debug")
    async with CommandLine(tmp_path).serving(*settings) as serving, aiohttp.ClientSession() as http:
        async with http.post(serving.http, data=body.encode(), headers=headers) as response:
            answer = await response.read()
        log = "".join(await rest_of(serving))
    lines = [line for line in map(json.loads, log.splitlines()) if line["logger"] == "gateway.calls"]
    assert [(line["method"], line["bytes_in"], line["bytes_out"]) for line in lines] == [
        ("runs/list", len(body.encode()), len(answer))
    ]
    assert "SECRET" not in log
