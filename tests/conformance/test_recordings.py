"""What real components asked of their runtimes, asked of the gateway: it answers, and their SDKs decode the answers.

The recordings are replayed message by message over HTTP. Ids of runs become those that the gateway gave. Where the
gateway answers otherwise than the runtime did, on purpose, `DIFFERENCES` says so.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.integration.conftest import DATA, Gateway, Start
from tests.support.component_server import Call, ComponentServer

SDK_OF = {"0.9.0": "0.9.2", "0.10.0": "0.10.0", "0.11.1": "0.11.2"}
RUNS = {"runs/submit", "runs/get"}
# From 0.10 on, SDKs know blobs over HTTP only.
KNOWN_METHODS = {"0.9.0": RUNS | {"blobs/put", "blobs/get"}, "0.10.0": RUNS, "0.11.1": RUNS}


def lines_of(scenario: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "wire" / scenario).read_text().splitlines()]


def is_request(line: dict[str, Any]) -> bool:
    return line["from"] == "component" and isinstance(line["message"], dict) and "method" in line["message"]


FILES = sorted(path.relative_to(DATA / "wire") for path in (DATA / "wire").glob("*/*.jsonl"))
SCENARIOS = [scenario for scenario in FILES if any(map(is_request, lines_of(scenario)))]

# The flow that was stored before the recordings that a script made.
SEED_ID = "9b16097c3d8baa5426b1a4f3dbe8e99a25e4b0eae0b606b7013b7171b8bd5b42"
SEED = """{"name":"subb","output":{"$step":"m"},"steps":[
    {"id":"m","component":"/builtin/create_messages","input":{"user_prompt":{"$input":"m"}}}]}"""
SUB = '{"name":"sub","steps":[{"id":"d","component":"/sdk/double","input":{"$input":"$"}}],"output":{"$step":"d"}}'

UNANSWERED = "the runtime answers nothing; the gateway answers every request"
BOTH_SPELLINGS = "the runtime knows one spelling; the gateway takes all"
NO_KEY = "the runtime requires a subflowKey; the document does not"
KEY_REUSED = "the runtime runs it again; the gateway refuses a key that is used again with other parameters"
SERVES_BLOBS = "the runtime serves blobs over HTTP only; the gateway over JSON-RPC, too"
TAKES_BOTH_FORMS = "the runtime knows one form of overrides; the gateway takes both"

NO_TIMEOUT = "0.9.0 ignores timeoutSecs and waits for the end"

DIFFERENCES: dict[tuple[str, str], str] = {
    ("21_raw_submit_with_subflowKey", "7"): BOTH_SPELLINGS,
    ("21_raw_submit_with_subflowKey", "g3"): BOTH_SPELLINGS,
    ("20_raw_seed_exact_submit", "submit-run-001"): NO_KEY,
    ("22_raw_same_subflowKey_twice", "b"): KEY_REUSED,
    ("24_raw_unknown_method", "u1"): UNANSWERED,
    ("24_raw_unknown_method", "u4"): SERVES_BLOBS,
    ("24_raw_unknown_method", "u5"): UNANSWERED,
    ("24_raw_unknown_method", "u6"): UNANSWERED,
    ("09_submit_overrides", "*"): TAKES_BOTH_FORMS,
    ("26_raw_bad_overrides", "o1"): TAKES_BOTH_FORMS,
    ("26_raw_bad_overrides", "o2"): TAKES_BOTH_FORMS,
    ("26_raw_bad_overrides", "o3"): TAKES_BOTH_FORMS,
    ("26_raw_bad_overrides", "o4"): TAKES_BOTH_FORMS,
    ("0.9.0/27_raw_timeout", "*"): NO_TIMEOUT,
}


class Answered(NamedTuple):
    """A request of a component, what the runtime answered in the recording, and what the gateway answers."""

    request: dict[str, Any]
    recorded: dict[str, Any] | None
    answer: str


@pytest.mark.parametrize("version", SDK_OF)
async def test_recorded_requests_get_answers_that_the_sdk_decodes(
    version: str, start: Start, sdk_python: Callable[[str], Path]
) -> None:
    answered = [
        (scenario, item)
        for scenario in SCENARIOS
        if scenario.parts[0] == version
        for item in await replay(scenario, start)
        if item.request["method"] in KNOWN_METHODS[version]
    ]
    assert answered
    decoded = await decode([item for _, item in answered], sdk_python(SDK_OF[version]))
    for (scenario, item), message in zip(answered, decoded, strict=True):
        if item.recorded is None or differs(scenario, item):
            continue
        assert ("error" in message) == ("error" in item.recorded), (scenario, item, message)
        if "result" in message and item.request["method"].startswith("runs/"):
            assert comparable(message["result"], item) == comparable(item.recorded["result"], item), scenario


def differs(scenario: Path, item: Answered) -> bool:
    """Whether the gateway answers otherwise, on purpose."""
    name, request_id = scenario.stem, str(item.request["id"])
    keys = {(name, request_id), (name, "*"), (f"{scenario.parts[0]}/{name}", "*")}
    return not keys.isdisjoint(DIFFERENCES)


def comparable(status: dict[str, Any], item: Answered) -> dict[str, Any]:
    """What of a run's status does not depend on ids and on how far a run that goes on has come."""
    told = {"flowName": status.get("flowName"), "total": status["items"]["total"]}
    if status["items"]["completed"] < status["items"]["total"] or not item.request["params"].get("wait"):
        return told
    return {
        **told,
        "items": {key: status["items"][key] for key in ("total", "completed", "failed", "cancelled")},
        "results": [(r["itemIndex"], r["status"], r["result"]) for r in status.get("results") or []],
    }


async def replay(scenario: Path, start: Start) -> list[Answered]:
    """Send what the component sent, in order, to a new gateway."""
    released = asyncio.Event()

    async def double(call: Call) -> None:
        given = call.message["params"]["input"]
        if "sleep" in given:
            await released.wait()
        await call.result({"output": {"doubled": given["n"] * 2}})

    async with ComponentServer(double).running() as url:
        return await send(scenario, await start(components={"/sdk": url}), released)


async def send(scenario: Path, gateway: Gateway, released: asyncio.Event) -> list[Answered]:
    """Send the requests of a scenario. Components that sleep in it are released before its last request."""
    lines = lines_of(scenario)
    recorded = {
        str(line["message"]["id"]): line["message"]
        for line in lines
        if line["from"] == "runtime"
        and isinstance(line["message"], dict)
        and "method" not in line["message"]
        and "id" in line["message"]
    }
    ids = {SEED_ID: await store(gateway, SEED)}
    await store(gateway, SUB)
    answered: list[Answered] = []
    requests = list(filter(is_request, lines))
    for line in lines:
        if line.get("http", "").startswith("POST /api/v1/blobs"):
            await store(gateway, json.dumps(line["message"]["data"], separators=(",", ":")))
    if "timeout" not in scenario.stem:
        released.set()
    for line in requests:
        request = line["message"]
        text = json.dumps(request)
        for theirs, ours in ids.items():
            text = text.replace(theirs, ours)
        if "timeout" in scenario.stem:
            text = text.replace('"timeoutSecs": 1', '"timeoutSecs": 0.01')
            if line is requests[-1]:
                released.set()
        answer = (await gateway.jsonrpc.post(text)).decode()
        if "id" not in request:
            assert answer == ""
            continue
        answered.append(Answered(request, recorded.get(str(request["id"])), answer))
        learn(ids, answered[-1])
    return answered


def learn(ids: dict[str, str], item: Answered) -> None:
    """Note which id the gateway gave where the runtime gave another."""
    ours, theirs = json.loads(item.answer).get("result"), (item.recorded or {}).get("result")
    for name in ("runId", "blob_id"):
        if ours and theirs and name in ours and name in theirs:
            ids[theirs[name]] = ours[name]


async def store(gateway: Gateway, flow: str) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"http://{gateway.addresses.http}/api/v1/blobs",
            data=f'{{"data":{flow},"blobType":"flow"}}',
            headers={"content-type": "application/json"},
        ) as response,
    ):
        return str((await response.json())["blobId"])


async def decode(answered: list[Answered], python: Path) -> list[dict[str, Any]]:
    """What the SDK makes of the answers."""
    lines = "".join(
        json.dumps({"method": item.request["method"], "id": item.request["id"], "answer": item.answer}) + "\n"
        for item in answered
    )
    process = await asyncio.create_subprocess_exec(
        python,
        DATA / "components" / "decode_answers.py",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(lines.encode())
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.splitlines()]
