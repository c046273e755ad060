# ruff: noqa: N802 - the contract names the methods.
"""Uploads of both clients to a scripted server: sent in parts, sent again, aborted."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from gateway.adapter.proto import run_status_to_proto
from gateway.adapter.status import to_status
from gateway.client import AsyncRunsClient, FlowNotFound, RunsClient, RunStatus, Unavailable, requests
from gateway.errors import GatewayError
from gateway.model import ItemStatistics, RunState
from gateway.model import RunStatus as StatusMessage
from runs.v1 import runs_pb2, runs_pb2_grpc

STATUS = StatusMessage(
    run_id="r", flow_id="f", status=RunState.PENDING, items=ItemStatistics(total=0), created_at=0, results=None
)


class Servicer(runs_pb2_grpc.RunsServiceServicer):
    """Keeps what was uploaded as a whole; fails as `failures` says, before or after it has read everything."""

    def __init__(self) -> None:
        self.uploads: list[list[runs_pb2.SubmitRunStreamRequest]] = []
        self.failures: list[tuple[GatewayError, bool]] = []
        self.aborted = threading.Event()

    def SubmitRunStream(
        self, request_iterator: Iterator[runs_pb2.SubmitRunStreamRequest], context: Any
    ) -> runs_pb2.SubmitRunResponse:
        failure, at_once = self.failures.pop(0) if self.failures else (None, False)
        if at_once and failure is not None:
            self._abort(context, failure)
        try:
            upload = list(request_iterator)
        except grpc.RpcError:
            self.aborted.set()
            raise
        self.uploads.append(upload)
        if failure is not None:
            self._abort(context, failure)
        return runs_pb2.SubmitRunResponse(run=run_status_to_proto(STATUS))

    def _abort(self, context: Any, error: GatewayError) -> None:
        code, message, details = to_status(error)
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(code, message)


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()  # type: ignore[abstract]


@pytest.fixture
def address(servicer: Servicer) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    runs_pb2_grpc.add_RunsServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


Submit = Callable[..., RunStatus]


async def asynchronously(address: str, method: str, inputs: Iterable[object], **options: Any) -> RunStatus:
    async with AsyncRunsClient(address) as client:
        submit: Callable[..., Coroutine[Any, Any, RunStatus]] = getattr(client, method)
        return await submit("f", inputs, **options)


@pytest.fixture(params=["blocking", "asyncio"])
def submit(request: pytest.FixtureRequest, address: str) -> Submit:
    """Calls a method of a new client that submits."""

    def submit(method: str, inputs: Iterable[object], **options: Any) -> RunStatus:
        if request.param == "asyncio":
            return asyncio.run(asynchronously(address, method, inputs, **options))
        with RunsClient(address) as client:
            result: RunStatus = getattr(client, method)("f", inputs, **options)
            return result

    return submit


def texts(upload: list[runs_pb2.SubmitRunStreamRequest]) -> list[list[str]]:
    return [[value.json for value in part.inputs] for part in upload]


def test_inputs_that_do_not_fit_a_message_are_sent_in_parts_and_again(
    servicer: Servicer, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MESSAGE_BYTES", 4)
    monkeypatch.setattr(requests, "PART_BYTES", 4)
    servicer.failures = [(Unavailable("at once"), True), (Unavailable("at the end"), False)]
    assert submit("submit", [11, 22, 33], flow_label="l").run_id == "r"
    assert [texts(upload) for upload in servicer.uploads] == [[["11", "22"], ["33"]]] * 2
    keys = {upload[0].parameters.idempotency_key for upload in servicer.uploads}
    assert len(keys) == 1
    assert all(upload[0].parameters.flow_label == "l" for upload in servicer.uploads)
    assert not any(part.HasField("parameters") for upload in servicer.uploads for part in upload[1:])


def test_what_can_be_iterated_again_is_sent_again(servicer: Servicer, submit: Submit) -> None:
    servicer.failures = [(Unavailable("at the end"), False)]
    assert submit("submit_stream", range(3)).run_id == "r"
    assert [texts(upload) for upload in servicer.uploads] == [[["0", "1", "2"]]] * 2


def test_an_iterator_is_not_sent_again(servicer: Servicer, submit: Submit) -> None:
    servicer.failures = [(Unavailable("at the end"), False)]
    with pytest.raises(Unavailable, match="at the end"):
        submit("submit_stream", iter(range(3)))
    assert len(servicer.uploads) == 1


def test_an_upload_that_is_refused_ends_early(
    servicer: Servicer, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PART_LENGTH", 1)
    servicer.failures = [(FlowNotFound("none"), True)]
    with pytest.raises(FlowNotFound):
        submit("submit_stream", (number for number in iter(int, 1)))


def test_inputs_that_fail_abort_the_upload(servicer: Servicer, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PART_LENGTH", 1)

    def inputs() -> Iterator[int]:
        yield from range(3)
        raise LookupError("no more")

    with pytest.raises(LookupError):
        submit("submit_stream", inputs())
    servicer.aborted.wait()
    assert servicer.uploads == []


async def test_inputs_may_come_asynchronously(servicer: Servicer, address: str) -> None:
    async def inputs() -> AsyncIterator[object]:
        yield 1
        yield "2"

    async with AsyncRunsClient(address) as client:
        await client.submit_stream("f", inputs())
    assert [texts(upload) for upload in servicer.uploads] == [[["1", '"2"']]]


def test_inputs_are_read_in_the_thread_that_calls(servicer: Servicer, submit: Submit) -> None:
    def inputs() -> Iterator[int]:
        yield threading.get_ident()

    submit("submit_stream", inputs())
    assert texts(servicer.uploads[0]) == [[str(threading.get_ident())]]
