"""What callers may do is counted by the gRPC front, and what they do is told to the audit log."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest

from gateway.access.access import OpenAccess
from gateway.access.audit import AuditLog
from gateway.access.audit_file import AuditFile
from gateway.access.limit_rules import LimitRule
from gateway.access.limits import CallerLimits
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.grpc.server import Transport
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.grpc_calls import Client, failure, read_all
from tests.support.scripted_runtime import MISSING_RUN, ScriptedRuntime

Limited: TypeAlias = Callable[..., Awaitable[Client]]


@pytest.fixture
def access() -> OpenAccess:
    return OpenAccess()


@pytest.fixture
async def client(service: RunsService, transport: Transport, access: OpenAccess) -> AsyncIterator[Client]:
    front = GrpcFront(RunsServices(service), "127.0.0.1:0", access=access, transport=transport)
    await front.start()
    client = Client(front.address)
    yield client
    await client.close()
    await front.stop(0)


def limited(access: OpenAccess, **limits: Any) -> None:
    access.limits = CallerLimits([LimitRule(**limits)], stored=lambda _: 1_000)


async def refused(call: Any, quota: str) -> None:
    """A call is refused for a limit, and told when to come again."""
    code, _, found = await failure(call)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    (violation,) = found["QuotaFailure"].violations
    assert (violation.subject, violation.description) == ("identity:", quota)
    assert found["RetryInfo"].retry_delay.ToNanoseconds() > 0


async def first_of(stream: Any) -> list[Any]:
    """The first message of a stream, which is then left; none if it is refused."""
    with suppress(grpc.aio.AioRpcError):
        return [await stream.read()]
    stream.cancel()
    return []


def submit_of(flow_id: str, inputs: int = 1) -> runs_pb2.SubmitRunRequest:
    return runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=[runs_pb2.JsonValue(json="1")] * inputs)


async def test_requests_beyond_the_rate_do_no_work(
    client: Client, access: OpenAccess, runtime: ScriptedRuntime
) -> None:
    flow_id = await client.put_flow()
    limited(access, requests_per_second=0.01, burst=2)
    await client.runs.SubmitRun(submit_of(flow_id))
    await client.runs.SubmitRun(submit_of(flow_id))
    for _ in range(3):
        await refused(client.runs.SubmitRun(submit_of(flow_id)), "requests_per_second")
    await refused(client.get(MISSING_RUN), "requests_per_second")
    await refused(client.watch(), "requests_per_second")
    assert len(runtime.scopes) == 2


async def test_streams_are_counted_until_they_end(client: Client, access: OpenAccess) -> None:
    run = await client.submit()
    limited(access, max_streams=1)
    first = client.get(run.run_id, wait=True)
    await first.read()
    await refused(client.get(run.run_id, wait=True), "max_streams")
    assert (await client.runs.ListRuns(runs_pb2.ListRunsRequest())).runs, "other calls pass"
    first.cancel()
    while not (answers := await first_of(client.get(run.run_id, wait=True))):
        pass
    assert answers[0].run.run_id == run.run_id


async def test_a_stream_follows_as_many_runs_as_its_caller_may(client: Client, access: OpenAccess) -> None:
    runs = [(await client.submit()).run_id for _ in range(3)]
    limited(access, max_followed=2)
    stream = client.watch()
    for run_id in runs:
        await stream.write(runs_pb2.WatchRunsRequest(add=runs_pb2.GetRunRequest(run_id=run_id, wait=True)))
    answers = [await stream.read() for _ in range(3)]
    (error,) = [answer.error for answer in answers if answer.HasField("error")]
    assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    await refused(client.get(runs[0], wait=True), "max_followed")
    await stream.write(runs_pb2.WatchRunsRequest(remove=runs[0]))
    while not (await stream.read()).HasField("ended"):
        pass
    following = client.get(runs[0], wait=True)
    await following.read()
    following.cancel()
    stream.cancel()


async def test_items_count_before_the_runtime_is_asked(
    client: Client, access: OpenAccess, runtime: ScriptedRuntime
) -> None:
    flow_id = await client.put_flow()
    limited(access, items_per_minute=5)
    await client.runs.SubmitRun(submit_of(flow_id, 4))
    await refused(client.runs.SubmitRun(submit_of(flow_id, 2)), "items_per_minute")
    parts = [
        runs_pb2.SubmitRunStreamRequest(parameters=runs_pb2.SubmitRunRequest(flow_id=flow_id)),
        *[runs_pb2.SubmitRunStreamRequest(inputs=[runs_pb2.JsonValue(json="1")])] * 2,
    ]
    await refused(client.runs.SubmitRunStream(iter(parts)), "items_per_minute")
    assert len(runtime.scopes) == 1


async def test_a_full_namespace_is_told_before_anything_is_stored(client: Client, access: OpenAccess) -> None:
    flow_id = await client.put_flow()
    limited(access, max_stored_bytes=1_000)
    await refused(client.runs.SubmitRun(submit_of(flow_id)), "max_stored_bytes")
    await refused(client.blobs.PutBlob(blobs_pb2.PutBlobRequest(binary=b"x")), "max_stored_bytes")
    await client.blobs.GetBlob(blobs_pb2.GetBlobRequest(blob_id=flow_id))


async def test_requests_hold_no_more_memory_than_their_caller_may(client: Client, access: OpenAccess) -> None:
    limited(access, max_memory=200_000)
    await refused(client.blobs.PutBlob(blobs_pb2.PutBlobRequest(binary=b"x" * 200_000)), "max_memory")
    for _ in range(5):
        await client.blobs.PutBlob(blobs_pb2.PutBlobRequest(binary=b"x" * 50_000))


async def test_the_audit_log_tells_of_changes_and_refusals(client: Client, access: OpenAccess, tmp_path: Path) -> None:
    path = tmp_path / "audit"
    log = access.audit = AuditLog(AuditFile(str(path)))
    run = await client.submit()
    await client.runs.CancelRun(runs_pb2.CancelRunRequest(run_id=run.run_id))
    await failure(client.runs.DeleteRun(runs_pb2.DeleteRunRequest(run_id=MISSING_RUN)))
    await failure(client.runs.CreateToken(runs_pb2.CreateTokenRequest(permissions=["runs:read"])))
    await read_all(client.runs.CancelRuns(runs_pb2.CancelRunsRequest(filter=runs_pb2.RunFilter(labels={"a": "b"}))))
    limited(access, requests_per_second=0.01)
    await client.runs.ListRuns(runs_pb2.ListRunsRequest())
    await refused(client.runs.ListRuns(runs_pb2.ListRunsRequest()), "requests_per_second")
    await asyncio.to_thread(log.close)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    told = [(line["method"].rpartition("/")[2], line["code"], line.get("runs")) for line in lines]
    assert told[:2] == [("SubmitRun", "OK", [run.run_id]), ("CancelRun", "OK", [run.run_id])]
    assert told[2][0::2] == ("DeleteRun", [MISSING_RUN])
    assert told[3][:2] == ("CreateToken", "UNIMPLEMENTED")
    assert lines[3]["permissions"] == ["runs:read"]
    assert (told[4][:2], len(lines[4]["filter"])) == (("CancelRuns", "OK"), 16)
    assert (told[5][:2], lines[5]["quota"]) == (("ListRuns", "RESOURCE_EXHAUSTED"), "requests_per_second")
    assert all(line["front"] == "grpc" and line["peer"] for line in lines)
