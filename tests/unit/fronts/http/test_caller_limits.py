"""What callers may do is counted by the HTTP front, and what they do is told to the audit log."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.access.access import OpenAccess
from gateway.access.audit import AuditLog
from gateway.access.audit_file import AuditFile
from gateway.access.limit_rules import LimitRule
from gateway.access.limits import CallerLimits
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.services import RunsServices
from tests.support.followers import followed
from tests.support.http_front import Answer, RunningFront, call, head, post, running_front

ACCEPT = "Accept: text/event-stream"


@pytest.fixture
def access() -> OpenAccess:
    return OpenAccess()


@pytest.fixture
async def front(access: OpenAccess) -> AsyncIterator[RunningFront]:
    async with running_front(access=access) as front:
        yield front


def limited(access: OpenAccess, **limits: Any) -> None:
    access.limits = CallerLimits([LimitRule(**limits)], stored=lambda _: 1_000)


def refused(answer: Answer, quota: str) -> None:
    """A request is refused for a limit, and told when to come again."""
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    error = answer.json()["error"]
    assert error["code"] == -32014 or error["status"] == "RESOURCE_EXHAUSTED"
    assert error["data"]["quota"] == quota
    assert error["data"]["retryAfterSecs"] > 0


async def test_requests_beyond_the_rate_are_refused_before_their_bodies_come(
    front: RunningFront, access: OpenAccess
) -> None:
    limited(access, requests_per_second=0.01, burst=1)
    connection = await front.connect()
    assert (await connection.send(call("runs/list", {})).answer()).status == 200
    for _ in range(3):
        refused(await connection.send(call("runs/list", {})).answer(), "requests_per_second")
    other = await front.connect()
    refused(await other.send(head("/", "Content-Length: 1000000")).answer(), "requests_per_second")
    blobs = await front.connect()
    refused(await blobs.send(post(b"{}", "/api/v1/blobs")).answer(), "requests_per_second")
    health = await front.connect()
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert (await health.send(request).answer()).status == 200


async def test_each_call_of_a_batch_counts(front: RunningFront, access: OpenAccess) -> None:
    limited(access, requests_per_second=0.01, burst=3)
    calls = [{"jsonrpc": "2.0", "id": number, "method": "runs/list", "params": {}} for number in range(5)]
    connection = await front.connect()
    answers = (await connection.send(post(json.dumps(calls).encode())).answer()).json()
    assert sum("result" in answer for answer in answers) == 3
    assert {answer["error"]["code"] for answer in answers if "error" in answer} == {-32014}


@pytest.mark.parametrize("places", [1, 3])
async def test_a_batch_has_the_places_that_its_caller_has(front: RunningFront, access: OpenAccess, places: int) -> None:
    """Its calls wait for each other rather than that they are refused; the places are free again when it ends."""
    runs = [await front.submit() for _ in range(9)]
    limited(access, max_calls=places)
    calls = [
        {"jsonrpc": "2.0", "id": number, "method": "runs/get", "params": {"runId": run_id, "wait": True}}
        for number, run_id in enumerate(runs)
    ]
    connection = await front.connect()
    connection.send(post(json.dumps(calls).encode()))
    other = await front.connect()
    for number in range(0, len(runs), places):
        executing = runs[number : number + places]
        await followed(front.service, places)
        refused(await other.send(call("runs/list", {})).answer(), "max_calls")
        for run_id in executing:
            for item in range(2):
                await front.runtime.succeed(item, run_id=run_id)
    answers = (await connection.answer()).json()
    assert [answer["result"]["runId"] for answer in answers] == runs
    assert (await other.send(call("runs/list", {})).answer()).status == 200


async def test_an_event_stream_counts_as_one_until_it_ends(front: RunningFront, access: OpenAccess) -> None:
    run_id = await front.submit()
    limited(access, max_calls=1, max_streams=1)
    stream = await front.connect()
    follow = call("runs/get", {"runId": run_id, "wait": True}, ACCEPT)
    assert (await stream.send(follow).head())[0] == 200
    other = await front.connect()
    refused(await other.send(follow).answer(), "max_streams")
    assert (await other.send(call("runs/list", {})).answer()).status == 200
    stream.reset()
    while (answer := await (await front.connect()).send(follow).head())[0] != 200:
        assert answer[0] == 429


async def test_followed_runs_are_counted(front: RunningFront, access: OpenAccess) -> None:
    run_id = await front.submit()
    limited(access, max_followed=1)
    follow = call("runs/get", {"runId": run_id, "wait": True}, ACCEPT)
    assert (await (await front.connect()).send(follow).head())[0] == 200
    refused(await (await front.connect()).send(follow).answer(), "max_followed")


async def test_items_and_stored_bytes_are_counted(front: RunningFront, access: OpenAccess) -> None:
    await front.submit()
    submit = call("runs/submit", {"flowId": "sha256:" + "0" * 64, "inputs": [1, 2]})
    limited(access, items_per_minute=2)
    connection = await front.connect()
    assert (await connection.send(submit).answer()).json()["error"]["code"] == -32005
    refused(await connection.send(submit).answer(), "items_per_minute")
    limited(access, max_stored_bytes=1)
    refused(await connection.send(submit).answer(), "max_stored_bytes")
    refused(await connection.send(post(b"{}", "/api/v1/blobs")).answer(), "max_stored_bytes")


async def test_bodies_hold_no_more_memory_than_their_caller_may(front: RunningFront, access: OpenAccess) -> None:
    limited(access, max_memory=250_000)
    refused(await (await front.connect()).send(post(b" " * 300_000)).answer(), "max_memory")
    connection = await front.connect()
    for _ in range(5):
        assert (await connection.send(post(b" " * 50_000)).answer()).status == 200


async def test_the_audit_log_tells_of_changes_and_refusals(
    front: RunningFront, access: OpenAccess, tmp_path: Path
) -> None:
    path = tmp_path / "audit"
    log = access.audit = AuditLog(AuditFile(str(path)))
    run_id = await front.submit()
    connection = await front.connect()
    await connection.send(call("runs/cancel", {"runId": run_id})).answer()
    await connection.send(call("runs/cancel", {"filter": {"labels": {"a": "secret"}}})).answer()
    await connection.send(call("runs/delete", {"runId": run_id})).answer()
    limited(access, requests_per_second=0.01)
    await connection.send(call("runs/list", {})).answer()
    refused(await connection.send(call("runs/list", {})).answer(), "requests_per_second")
    await asyncio.to_thread(log.close)
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["method"] for line in lines] == [
        "runs/submit",
        "runs/cancel",
        "runs/cancel",
        "runs/delete",
        "POST /",
    ]
    assert [line.get("runs") for line in lines] == [[run_id], [run_id], None, [run_id], None]
    assert lines[2]["counts"] == {"matched": 0, "done": 0, "unchanged": 0}
    assert lines[4]["quota"] == "requests_per_second"
    assert all(line["front"] == "http" and line["peer"].startswith("127.0.0.1:") for line in lines)
    assert "secret" not in text


async def test_what_components_ask_for_is_told_with_their_run_and_not_limited(
    front: RunningFront, access: OpenAccess, tmp_path: Path
) -> None:
    path = tmp_path / "audit"
    log = access.audit = AuditLog(AuditFile(str(path)))
    run_id = await front.submit()
    limited(access, requests_per_second=0.01, items_per_minute=1, max_stored_bytes=1)
    methods = JsonRpcMethods(RunsServices(front.service), access=access)
    for number in range(3):
        cancel = {"jsonrpc": "2.0", "id": number, "method": "runs/cancel", "params": {"runId": run_id}}
        answer = await methods.call(json.dumps(cancel).encode(), f"{run_id}/0/step")
        assert answer is not None
        assert "result" in json.loads(answer)
    await asyncio.to_thread(log.close)
    lines = [json.loads(line) for line in path.read_text().splitlines()][1:]
    assert [(line["front"], line["method"], line["inside"]) for line in lines] == [
        ("component", "runs/cancel", run_id)
    ] * 3
