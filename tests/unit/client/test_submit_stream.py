# ruff: noqa: N802 - the contract names the methods.
"""Uploads of both clients to a scripted server: sent in parts, sent again, aborted."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc
import pytest
from grpc import aio

from gateway.adapter.grpc_status import to_status
from gateway.adapter.status_proto import run_status_to_proto
from gateway.client import AsyncRunsClient, FlowNotFound, RunsClient, RunStatus, Unavailable, requests
from gateway.core.errors import GatewayError
from gateway.core.model import ItemStatistics, RunState
from gateway.core.model import RunStatus as StatusMessage
from gateway.peers.grpc import upload
from runs.v1 import runs_pb2, runs_pb2_grpc

LONG = 60.0
"""So many seconds pass only when a test fails."""

STATUS = StatusMessage(
    run_id="r", flow_id="f", status=RunState.PENDING, items=ItemStatistics(total=0), created_at=0, results=None
)


class Servicer(runs_pb2_grpc.RunsServiceServicer):
    """Keeps what was uploaded as a whole; fails as `failures` says, before or after it has read everything."""

    def __init__(self) -> None:
        self.uploads: list[list[runs_pb2.SubmitRunStreamRequest]] = []
        self.failures: list[tuple[GatewayError, bool]] = []
        self.answers = True
        self.reading = threading.Event()
        self.over = threading.Event()

    def SubmitRunStream(
        self, request_iterator: Iterator[runs_pb2.SubmitRunStreamRequest], context: Any
    ) -> runs_pb2.SubmitRunResponse:
        failure, at_once = self.failures.pop(0) if self.failures else (None, False)
        if at_once and failure is not None:
            self._abort(context, failure)
        context.add_callback(self.over.set)
        upload = []
        for part in request_iterator:
            upload.append(part)
            self.reading.set()
        if not self.answers:
            # gRPC may show a call that was cancelled as one that was sent to its end, at first.
            self.over.wait(LONG)
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


async def asynchronously(
    address: str, method: str, inputs: Iterable[object], afterwards: Callable[[], object], **options: Any
) -> RunStatus:
    async with AsyncRunsClient(address) as client:
        submit: Callable[..., Coroutine[Any, Any, RunStatus]] = getattr(client, method)
        try:
            return await submit("f", inputs, **options)
        finally:
            afterwards()


@pytest.fixture(params=["blocking", "asyncio"])
def submit(request: pytest.FixtureRequest, address: str) -> Submit:
    """Calls a method of a new client that submits, and `afterwards` before the client is closed."""

    def submit(
        method: str, inputs: Iterable[object], afterwards: Callable[[], object] = lambda: None, **options: Any
    ) -> RunStatus:
        if request.param == "asyncio":
            return asyncio.run(asynchronously(address, method, inputs, afterwards, **options))
        with RunsClient(address) as client:
            try:
                result: RunStatus = getattr(client, method)("f", inputs, **options)
                return result
            finally:
                afterwards()

    return submit


def texts(upload: list[runs_pb2.SubmitRunStreamRequest]) -> list[list[str]]:
    return [[value.json for value in part.inputs] for part in upload]


def test_inputs_that_do_not_fit_a_message_are_sent_in_parts_and_again(
    servicer: Servicer, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MESSAGE_BYTES", 4)
    monkeypatch.setattr(upload, "PART_BYTES", 4)
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
    monkeypatch.setattr(upload, "PART_LENGTH", 1)
    servicer.failures = [(FlowNotFound("none"), True)]
    with pytest.raises(FlowNotFound):
        submit("submit_stream", (number for number in iter(int, 1)))


def test_inputs_that_fail_abort_the_upload(servicer: Servicer, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PART_LENGTH", 1)

    def inputs() -> Iterator[int]:
        yield from range(3)
        # A call that is cancelled before the server has taken it up is none to the servicer.
        assert servicer.reading.wait(LONG)
        raise LookupError("no more")

    def aborted() -> None:
        assert servicer.over.wait(LONG)

    # Nothing but its cancellation ends a call that is not answered, while the client is open.
    servicer.answers = False
    with pytest.raises(LookupError):
        submit("submit_stream", inputs(), aborted)


def test_an_error_of_grpc_in_the_inputs_is_not_one_of_the_upload(servicer: Servicer, submit: Submit) -> None:
    failure = grpc.RpcError("another service")

    def inputs() -> Iterator[int]:
        yield 1
        raise failure

    with pytest.raises(grpc.RpcError) as raised:
        submit("submit_stream", inputs())
    assert raised.value is failure


class RefusedCall:
    """How a call of grpc.aio fails to send just when it has been answered: with an error that hides the answer."""

    def __init__(self, answer: aio.AioRpcError) -> None:
        self._answer = answer
        self._error: aio.AioRpcError | None = None
        self._callbacks: list[Callable[[object], object]] = []

    def add_done_callback(self, callback: Callable[[object], object]) -> None:
        self._callbacks.append(callback)

    async def write(self, _: object) -> None:
        sent = asyncio.get_running_loop().create_future()
        # The failure has come, and what waits for it is about to run, when the answer is told.
        asyncio.get_running_loop().call_soon(sent.set_result, None)
        asyncio.get_running_loop().call_soon(self._end, self._answer)
        await sent
        error = aio.AioRpcError(grpc.StatusCode.INTERNAL, aio.Metadata(), aio.Metadata(), "Internal error from Core")
        self._end(error)
        raise error

    async def done_writing(self) -> None:
        raise AssertionError("the call takes nothing")

    def cancel(self) -> bool:
        return False

    def __await__(self) -> Generator[None, None, None]:
        yield
        assert self._error is not None
        raise self._error

    def _end(self, error: aio.AioRpcError) -> None:
        self._error = error
        for callback in self._callbacks:
            callback(self)


class RefusingChannel:
    """A channel whose uploads are refused; no other call can be made."""

    def __init__(self, answer: aio.AioRpcError) -> None:
        self._answer = answer

    def stream_unary(self, *_: object, **__: object) -> Callable[..., RefusedCall]:
        return lambda **_: RefusedCall(self._answer)

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


async def test_a_failure_to_send_does_not_hide_the_answer() -> None:
    code, message, details = to_status(FlowNotFound("none"))
    trailers = aio.Metadata(("grpc-status-details-bin", details))
    channel = RefusingChannel(aio.AioRpcError(code, aio.Metadata(), trailers, message))
    async with AsyncRunsClient(cast("aio.Channel", channel)) as client:
        with pytest.raises(FlowNotFound):
            await client.submit_stream("f", iter([1]))


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
