"""What one gRPC client makes the gateway hold is counted, bounded, and given back, whatever the client does."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from gateway.adapter.blobs_proto import blob_to_get_request
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.model import Blob, BlobType
from gateway.fronts.grpc import GrpcFront, GrpcLimits, long_answers
from gateway.fronts.grpc.connections import CALL_BYTES, LEAST_CALLS, MOST_CALLS, open_calls
from gateway.fronts.grpc.server import Transport
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.command_line import CommandLine, Serving
from tests.support.grpc_calls import Client, failure, read_all
from tests.support.raw_http2 import MAX_CONCURRENT_STREAMS, RawHttp2, raw_http2
from tests.support.scripted_runtime import MISSING_BLOB, ScriptedRuntime

MIB = 1 << 20
GET_BLOB = "/runs.v1.BlobsService/GetBlob"
GET_RUN = "/runs.v1.RunsService/GetRun"
SUBMIT = "/runs.v1.RunsService/SubmitRun"
UPLOAD = "/runs.v1.RunsService/SubmitRunStream"
WATCH = "/grpc.health.v1.Health/Watch"

Part = runs_pb2.SubmitRunStreamRequest


@pytest.fixture(params=["grpcio", "native"])
def transport(request: Any) -> Transport:
    transport: Transport = request.param
    return transport


class Served:
    """A front with an account of its own, and a client that behaves."""

    def __init__(self, transport: Transport, memory: int, limits: GrpcLimits) -> None:
        self.runtime = ScriptedRuntime()
        self.service = RunsService(self.runtime, grace=0)
        self.account = MemoryAccount(memory)
        self.client: Client
        self.front = GrpcFront(
            RunsServices(self.service), "127.0.0.1:0", account=self.account, limits=limits, transport=transport
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Ask for the health of the gateway until a condition is true."""
        while not condition():
            await self.client.health.Check(health_pb2.HealthCheckRequest())

    async def until_nothing_is_held(self) -> None:
        """Wait until the account is empty; the call of the client that asks has ended by then."""
        while self.account.held:  # noqa: ASYNC110 - nothing tells when a transport lets go
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    transport: Transport, memory: int = 64 * MIB, limits: GrpcLimits | None = None
) -> AsyncIterator[Served]:
    served = Served(transport, memory, limits or GrpcLimits())
    await served.front.start()
    served.client = Client(served.front.address)
    try:
        yield served
    finally:
        await served.client.close()
        await served.front.stop(0)
        await served.service.close()


async def blob(served: Served, size: int) -> bytes:
    """Store a blob; the serialized request for it."""
    blob_id = await served.runtime.put_blob(Blob(f'"{"x" * size}"', BlobType.DATA))
    return blob_to_get_request(blob_id).SerializeToString()


async def test_answers_that_are_not_read_stay_within_the_share(transport: Transport) -> None:
    """Those that do not fit are refused; another client gets its answer."""
    async with serving(transport, 16 * MIB) as served, raw_http2(served.front.address) as raw:
        request = await blob(served, MIB)
        streams = [raw.open(GET_BLOB, request) for _ in range(30)]
        await raw.until(lambda: len(raw.ended) >= 20)
        assert 4 * MIB < served.account.held <= 7 * MIB + CALL_BYTES
        other = await served.client.blobs.GetBlob(blobs_pb2.GetBlobRequest.FromString(request))
        assert len(other.json) == MIB + 2
        for stream in set(streams) - raw.ended:
            raw.give_window(4 * MIB, stream)
        await raw.until(lambda: len(raw.ended) == len(streams))
        assert sum(size > MIB for size in raw.received.values()) >= 2
        await served.until_nothing_is_held()


async def test_results_that_are_not_read_stay_within_the_share() -> None:
    """On the native transport it is not known when a message of a stream has been sent."""
    transport: Transport = "grpcio"
    async with serving(transport, 16 * MIB) as served, raw_http2(served.front.address) as raw:
        run = await served.client.submit(inputs=1)
        await served.runtime.succeed(0, f'"{"x" * MIB}"')
        request = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True, include_results=True).SerializeToString()
        for _ in range(30):
            raw.open(GET_RUN, request)
        await raw.until(lambda: len(raw.ended) >= 20)
        assert 4 * MIB < served.account.held <= 8 * MIB
        assert len(await read_all(served.client.get(run.run_id, include_results=True))) >= 1
    await served.until_nothing_is_held()


async def test_long_answers_wait_until_others_are_read(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has no more of them unread than it leaves to others, and those that wait take nothing."""
    monkeypatch.setattr(long_answers, "_MOST_ROOM", 16 * MIB)
    async with serving(transport, 256 * MIB) as served, raw_http2(served.front.address) as raw:
        request = await blob(served, MIB + MIB // 2)
        monkeypatch.setattr(served.runtime, "peek_blob", _length_of_blob)
        streams = [raw.open(GET_BLOB, request) for _ in range(5)]
        await served.until(lambda: served.account.held > 6 * MIB)
        other = await served.client.blobs.GetBlob(blobs_pb2.GetBlobRequest.FromString(request))
        assert len(other.json) > MIB
        await served.until(lambda: served.account.held < 7 * MIB)  # That of the other client has been given back.
        assert raw.ended == set()
        for stream in streams:
            raw.give_window(4 * MIB, stream)
        await raw.until(lambda: len(raw.ended) == 5)
        assert min(raw.received.values()) > MIB
        await served.until_nothing_is_held()


async def _length_of_blob(_: str, namespace: str | None = None) -> int:
    """The embedded runtime tells the length of a long blob before it reads it."""
    return MIB + MIB // 2


@pytest.mark.parametrize("path", [GET_BLOB, GET_RUN])
async def test_long_answers_that_wait_for_too_long_are_refused(
    transport: Transport, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(long_answers, "_MOST_ROOM", 16 * MIB)
    monkeypatch.setattr(long_answers, "WAIT_SECONDS", 0.05)
    if transport == "native" and path == GET_RUN:
        pytest.skip("on the native transport it is not known when a message of a stream has been sent")
    async with serving(transport, 256 * MIB) as served, raw_http2(served.front.address) as raw:
        request = await blob(served, MIB + MIB // 2)
        if path == GET_RUN:
            run = await served.client.submit(inputs=1)
            await served.runtime.succeed(0, f'"{"x" * (MIB + MIB // 2)}"')
            request = runs_pb2.GetRunRequest(run_id=run.run_id, include_results=True).SerializeToString()
        for _ in range(5):
            raw.open(path, request)
        await raw.until(lambda: len(raw.ended) == 3)
        await served.until(lambda: served.account.held < 7 * MIB)
    assert not caplog.records


async def test_the_results_of_a_submit_are_left_out_if_others_are_not_read(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_answers, "_MOST_ROOM", 16 * MIB)
    monkeypatch.setattr(long_answers, "WAIT_SECONDS", 0.05)
    async with serving(transport, 256 * MIB) as served, raw_http2(served.front.address) as raw:
        raw.open(GET_BLOB, await blob(served, 7 * MIB))
        await served.until(lambda: served.account.held > 14 * MIB)
        submitting = asyncio.create_task(_submit(served, wait=True))
        await served.runtime.watched(1)
        await served.runtime.succeed(0, f'"{"x" * 3 * MIB}"')
        response = await submitting
        assert response.results_omitted
        assert response.run.status == runs_pb2.RUN_STATE_SUCCESS


async def test_small_updates_that_are_not_read_take_what_a_call_takes(transport: Transport) -> None:
    async with serving(transport) as served, raw_http2(served.front.address) as raw:
        run = await served.client.submit(inputs=2)
        request = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True).SerializeToString()
        for _ in range(100):
            raw.open(GET_RUN, request)
        await served.until(lambda: served.account.held >= 100 * CALL_BYTES)
        await served.runtime.succeed(0)
        await served.until(lambda: served.account.held <= 101 * CALL_BYTES)
        assert raw.ended == set()
    await served.until_nothing_is_held()


async def test_the_results_of_a_submit_are_left_out_if_they_do_not_fit(transport: Transport) -> None:
    """They are refused, not the submit: the run is there."""
    async with serving(transport, 8 * MIB) as served:
        submitting = asyncio.create_task(_submit(served, wait=True))
        await served.runtime.watched(1)
        await served.runtime.succeed(0, f'"{"x" * 3 * MIB}"')
        response = await submitting
        assert response.results_omitted
        assert response.run.status == runs_pb2.RUN_STATE_SUCCESS


async def _submit(served: Served, **fields: Any) -> Any:
    request = runs_pb2.SubmitRunRequest(
        flow_id=await served.client.put_flow(), inputs=[runs_pb2.JsonValue(json="1")], **fields
    )
    return await served.client.runs.SubmitRun(request)


async def test_a_large_request_is_refused_if_it_does_not_fit(transport: Transport) -> None:
    async with serving(transport, 4 * MIB) as served:
        code, _, found = await failure(served.client.blobs.PutBlob(blobs_pb2.PutBlobRequest(binary=bytes(3 * MIB))))
        assert (code, found["ErrorInfo"].reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert found["RetryInfo"].retry_delay.seconds == 1
        await served.client.put_flow()
        await served.until_nothing_is_held()


async def test_a_request_is_counted_until_it_is_accepted(transport: Transport) -> None:
    async with serving(transport, 32 * MIB) as served:
        inputs = [runs_pb2.JsonValue(json=f'"{"x" * MIB}"')]
        request = runs_pb2.SubmitRunRequest(flow_id=await served.client.put_flow(), inputs=inputs, wait=True)
        submitting = asyncio.ensure_future(served.client.runs.SubmitRun(request))
        await served.runtime.watched(1)
        assert served.account.held == CALL_BYTES
        await served.runtime.succeed(0)
        await submitting
        await served.until_nothing_is_held()


async def test_open_uploads_leave_room_for_other_clients(transport: Transport) -> None:
    """Seventeen that send as much as they can, for as long as they stay."""
    async with serving(transport, 16 * MIB) as served:
        flow_id = await served.client.put_flow()
        greedy = Client(served.front.address)

        async def parts() -> AsyncIterator[Part]:
            yield Part(parameters=runs_pb2.SubmitRunRequest(flow_id=flow_id))
            for _ in range(3):
                yield Part(inputs=[runs_pb2.JsonValue(json=f'"{"x" * MIB}"')])
            await asyncio.Event().wait()

        uploads = [asyncio.ensure_future(greedy.runs.SubmitRunStream(parts())) for _ in range(17)]
        await served.until(lambda: served.account.held > 4 * MIB)
        small = Part(parameters=runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=[runs_pb2.JsonValue(json="1")]))
        assert (await served.client.runs.SubmitRunStream(iter([small]))).run.items.total == 1
        await greedy.close()
        await asyncio.gather(*uploads, return_exceptions=True)
        await served.until_nothing_is_held()


@pytest.mark.parametrize("path", [GET_RUN, SUBMIT, UPLOAD])
async def test_a_call_without_a_request_is_counted_and_ends(transport: Transport, path: str) -> None:
    if transport == "native" and path != UPLOAD:
        pytest.skip("the native transport passes calls on when their requests are there")
    async with serving(transport) as served:
        async with raw_http2(served.front.address) as raw:
            for _ in range(50):
                raw.open(path)
            await served.until(lambda: served.account.held >= 50 * CALL_BYTES)
        await served.until_nothing_is_held()
    async with serving(transport, limits=GrpcLimits(patience=0.1)) as served, raw_http2(served.front.address) as raw:
        streams = [raw.open(path) for _ in range(50)]
        await raw.until(lambda: len(raw.ended) == len(streams))
        await served.until_nothing_is_held()


async def test_an_upload_that_does_not_go_on_ends(transport: Transport) -> None:
    async with serving(transport, limits=GrpcLimits(patience=0.2)) as served:
        call: Any = served.client.runs.SubmitRunStream()
        await call.write(Part(parameters=runs_pb2.SubmitRunRequest(flow_id=await served.client.put_flow())))
        code, _, found = await failure(call)
        assert (code, found["ErrorInfo"].reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "REQUEST_STALLED")
        await served.until_nothing_is_held()


async def test_open_calls_leave_room_for_other_clients(transport: Transport) -> None:
    async with serving(transport, 2 * MIB) as served, raw_http2(served.front.address) as raw:
        run = await served.client.submit(inputs=1)
        request = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True).SerializeToString()
        for _ in range(200):
            raw.open(GET_RUN, request)
        await raw.until(lambda: len(raw.ended) > 130)
        assert served.account.held <= MIB
        assert (await _submit(served)).run.items.total == 1


async def test_the_open_calls_of_a_connection_are_bounded(transport: Transport) -> None:
    limits = GrpcLimits(streams=20)
    async with serving(transport, limits=limits) as served, raw_http2(served.front.address) as raw:
        assert raw.settings[MAX_CONCURRENT_STREAMS] == 20
        run = await served.client.submit(inputs=1)
        request = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True).SerializeToString()
        for _ in range(30):
            raw.open(GET_RUN, request)
        await raw.until(lambda: len(raw.reset) == 10)
        await served.until(lambda: served.account.held >= 20 * CALL_BYTES)
        assert served.account.held <= 21 * CALL_BYTES


async def test_calls_that_are_reset_at_once_leave_nothing(transport: Transport) -> None:
    async with serving(transport) as served, raw_http2(served.front.address) as raw:
        for _ in range(2_000):
            raw.cancel(raw.open(GET_RUN, b""))
        with suppress(ConnectionError):  # The native transport disconnects such a client.
            await raw.flush()
        await served.client.put_flow()
        await served.until_nothing_is_held()


async def test_health_watches_count_as_waiting_calls(transport: Transport) -> None:
    async with serving(transport, limits=GrpcLimits(waits=2)) as served:
        watches = [served.client.health.Watch(health_pb2.HealthCheckRequest()) for _ in range(2)]
        for watch in watches:
            await watch.read()
        code, _, found = await failure(served.client.health.Watch(health_pb2.HealthCheckRequest()))
        assert (code, found["RetryInfo"].retry_delay.seconds) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1)
        for watch in watches:
            watch.cancel()
        await served.until_nothing_is_held()


async def test_runs_and_answers_of_a_watch_stream_are_counted(transport: Transport) -> None:
    async with serving(transport) as served:
        run = await served.client.submit(inputs=1)
        stream = served.client.watch()
        await stream.write(runs_pb2.WatchRunsRequest(add=runs_pb2.GetRunRequest(run_id=run.run_id, wait=True)))
        await stream.read()
        assert served.account.held > CALL_BYTES
        await stream.write(runs_pb2.WatchRunsRequest(remove=run.run_id))
        await stream.read()
        assert served.account.held == CALL_BYTES
        await stream.done_writing()
        await read_all(stream)
        await served.until_nothing_is_held()


# Every way in which a call can end


async def _ends(served: Served, raw: RawHttp2) -> None:
    await served.client.put_flow()


async def _fails(served: Served, raw: RawHttp2) -> None:
    await failure(served.client.runs.SubmitRun(runs_pb2.SubmitRunRequest(flow_id=MISSING_BLOB)))


async def _is_malformed(served: Served, raw: RawHttp2) -> None:
    call: Any = served.client.channel.unary_unary(SUBMIT)
    await failure(call(b"\xff" * 10_000))


async def _is_cancelled(served: Served, raw: RawHttp2) -> None:
    run = await served.client.submit(inputs=1)
    stream = served.client.get(run.run_id, wait=True)
    await stream.read()
    stream.cancel()


async def _is_cancelled_while_it_sends(served: Served, raw: RawHttp2) -> None:
    stream = raw.open(GET_BLOB, await blob(served, MIB))
    await served.until(lambda: served.account.held > 2 * MIB)
    raw.cancel(stream)


async def _exceeds_its_deadline(served: Served, raw: RawHttp2) -> None:
    call: Any = served.client.runs.SubmitRunStream(timeout=0.1)
    await failure(call)


async def _raises(served: Served, raw: RawHttp2) -> None:
    await served.runtime.break_down(ValueError("a defect"))
    await failure(served.client.blobs.PutBlob(blobs_pb2.PutBlobRequest(json="1")))


async def _breaks_a_rule(served: Served, raw: RawHttp2) -> None:
    await failure(served.client.runs.SubmitRunStream(iter([Part(inputs=[runs_pb2.JsonValue(json="1")])])))


async def _watches(served: Served, raw: RawHttp2) -> None:
    raw.cancel(raw.open(WATCH, b""))


ENDS: list[Callable[[Served, RawHttp2], Awaitable[None]]] = [
    _ends,
    _fails,
    _is_malformed,
    _is_cancelled,
    _is_cancelled_while_it_sends,
    _exceeds_its_deadline,
    _raises,
    _breaks_a_rule,
    _watches,
]


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_is_held_when_a_call_has_ended(
    transport: Transport, end: Callable[[Served, RawHttp2], Awaitable[None]]
) -> None:
    async with serving(transport) as served, raw_http2(served.front.address) as raw:
        await end(served, raw)
        await served.until_nothing_is_held()


async def test_nothing_is_held_when_connections_are_cut(transport: Transport) -> None:
    async with serving(transport) as served:
        async with raw_http2(served.front.address) as raw:
            for path in (GET_BLOB, UPLOAD):
                raw.open(path, await blob(served, MIB), end=False)
            raw.open(GET_BLOB, await blob(served, MIB))
            await served.until(lambda: served.account.held > 2 * MIB)
        await served.until_nothing_is_held()


async def test_nothing_is_held_when_the_server_has_stopped(transport: Transport) -> None:
    """Clients that do not read keep it from nothing."""
    async with serving(transport) as served, raw_http2(served.front.address) as raw:
        raw.open(GET_BLOB, await blob(served, MIB))
        raw.open(WATCH, b"")
        await served.until(lambda: served.account.held > 2 * MIB)
        await served.client.close()
        await served.front.stop(0)
        await served.until_nothing_is_held()


# A gateway as a process


async def test_the_process_takes_no_more_than_it_is_allowed(transport: Transport, tmp_path: Path) -> None:
    """Sixty answers of 8 MB that are not read, and five thousand calls of one connection that never go on."""
    flags = ("--state", ":memory:", "--max-memory", "64MiB", "--transport", transport)
    async with CommandLine(tmp_path).serving(*flags) as serving:
        client = Client(serving.grpc)
        content = blobs_pb2.PutBlobRequest(binary=bytes(8 * MIB), type=blobs_pb2.BLOB_TYPE_DATA)
        stored = await client.blobs.PutBlob(content)
        before = _memory(serving)
        async with raw_http2(serving.grpc) as raw, raw_http2(serving.grpc) as second:
            request = blob_to_get_request(stored.blob_id).SerializeToString()
            for _ in range(60):
                raw.open(GET_BLOB, request)
            await raw.until(lambda: len(raw.ended) >= 55)
            for _ in range(5_000):
                second.open(UPLOAD)
            await second.until(lambda: len(second.ended) >= 500)
            assert await client.put_flow()
            assert _memory(serving) - before < 3 * 64 * MIB
        await client.close()


def _memory(serving: Serving) -> int:
    """The most that a process has held so far, in bytes."""
    status = Path(f"/proc/{serving.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) << 10


@pytest.mark.parametrize(("memory", "calls"), [(64 * MIB, LEAST_CALLS), (1 << 30, 2_730), (1 << 40, MOST_CALLS)])
def test_the_open_calls_of_a_connection_take_a_sixteenth_of_the_memory(memory: int, calls: int) -> None:
    assert open_calls(memory) == calls
