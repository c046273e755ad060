"""Cancelling, listing and deleting runs over gRPC, on both transports."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.items import StepState, StepStatus
from gateway.core.model import ItemError
from gateway.fronts.grpc import GrpcLimits
from gateway.runs import bulk
from gateway.runs.listing import MOST_BYTES
from runs.v1 import runs_pb2, runs_pb2_grpc
from tests.support.grpc_calls import Client, Serve, failure, read_all, violated
from tests.support.scripted_runtime import MISSING_RUN, ScriptedRuntime

CANCELLED = runs_pb2.RUN_STATE_CANCELLED
MIB = 1 << 20
WIDE = f'"{chr(0x20AC) * 2 * MIB}"'
"""A text of 6 MiB in UTF-8."""


async def test_a_run_is_cancelled_with_a_reason(client: Client, runtime: ScriptedRuntime) -> None:
    run = await client.submit(inputs=2)
    await runtime.succeed(0, "1")
    request = runs_pb2.CancelRunRequest(run_id=run.run_id, reason="too slow")
    answer = (await client.runs.CancelRun(request)).run
    assert (answer.status, answer.cancel_reason) == (CANCELLED, "too slow")
    assert (answer.items.success, answer.items.cancelled) == (1, 1)
    assert not answer.results
    assert (await client.runs.CancelRun(runs_pb2.CancelRunRequest(run_id=run.run_id))).run == answer
    assert (await read_all(client.get(run.run_id)))[-1].run == answer


async def test_a_cancel_that_waits_answers_when_time_is_up(client: Client, runtime: ScriptedRuntime) -> None:
    runtime.stopped.clear()
    for timeout, call_timeout in ((Duration(nanos=1), None), (None, 0.3)):
        run = await client.submit()
        request = runs_pb2.CancelRunRequest(run_id=run.run_id, wait=True, timeout=timeout)
        answer = await client.runs.CancelRun(request, timeout=call_timeout)
        assert answer.run.status == CANCELLED
    waiting = client.runs.CancelRun(runs_pb2.CancelRunRequest(run_id=run.run_id, wait=True))
    runtime.stopped.set()
    assert (await waiting).run.status == CANCELLED


async def test_runs_are_listed_in_pages(client: Client) -> None:
    run_ids = [(await client.submit(flow_label=f"label {index % 2}")).run_id for index in range(5)]
    listed: list[str] = []
    token = ""
    while True:
        request = runs_pb2.ListRunsRequest(page_size=2, page_token=token, include_total=True)
        page = await client.runs.ListRuns(request)
        listed += [run.run_id for run in page.runs]
        assert page.total_size == 5
        token = page.next_page_token
        if not token:
            break
    assert listed == run_ids[::-1]
    wanted = runs_pb2.RunFilter(flow_label="label 1")
    oldest = runs_pb2.RUN_ORDER_OLDEST_FIRST
    page = await client.runs.ListRuns(runs_pb2.ListRunsRequest(filter=wanted, order=oldest))
    assert [run.run_id for run in page.runs] == run_ids[1::2]
    assert not page.HasField("total_size")


async def test_a_thousand_runs_with_long_labels_come_in_messages_that_clients_receive(client: Client) -> None:
    labels = {f"{index:0255}": "x" * 255 for index in range(32)}
    run_ids = [(await client.submit(inputs=0, labels=labels)).run_id for _ in range(150)]
    plain = grpc.aio.insecure_channel(client.address)
    runs = runs_pb2_grpc.RunsServiceStub(plain)
    listed, token = [], ""
    while True:
        page = await runs.ListRuns(runs_pb2.ListRunsRequest(page_size=1_000, page_token=token))
        assert page.ByteSize() < MOST_BYTES
        listed += [run.run_id for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    await plain.close()
    assert listed == run_ids[::-1]


async def test_a_run_is_deleted_when_it_has_ended(client: Client, runtime: ScriptedRuntime) -> None:
    run = await client.submit(inputs=1)
    stream = client.get(run.run_id, wait=True)
    await stream.read()
    code, _, details = await failure(client.runs.DeleteRun(runs_pb2.DeleteRunRequest(run_id=run.run_id)))
    assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RUN_NOT_ENDED")
    await client.runs.DeleteRun(runs_pb2.DeleteRunRequest(run_id=run.run_id, cancel=True))
    code, _, details = await failure(client.runs.DeleteRun(runs_pb2.DeleteRunRequest(run_id=run.run_id)))
    assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
    code, _, _ = await failure(client.get(run.run_id))
    assert code == grpc.StatusCode.NOT_FOUND
    # Its follower may see that it was cancelled, if it looks before the run has gone.
    ended = (await asyncio.gather(read_all(stream), return_exceptions=True))[0]
    assert not isinstance(ended, grpc.aio.AioRpcError) or ended.code() == grpc.StatusCode.NOT_FOUND


async def test_runs_that_match_are_cancelled_and_deleted(client: Client, runtime: ScriptedRuntime) -> None:
    run_ids = [(await client.submit(inputs=1, labels={"team": "a" if index else "b"})).run_id for index in range(4)]
    await runtime.succeed(0, run_id=run_ids[1])
    wanted = runs_pb2.RunFilter(labels={"team": "a"})
    told = await read_all(client.runs.CancelRuns(runs_pb2.CancelRunsRequest(filter=wanted, reason="enough")))
    assert told[0] == runs_pb2.CancelRunsResponse(matched=3, unchanged=1)
    assert told[-1] == runs_pb2.CancelRunsResponse(matched=3, cancelled=2, unchanged=1)
    everything = runs_pb2.RunFilter()
    told = await read_all(client.runs.DeleteRuns(runs_pb2.DeleteRunsRequest(filter=everything)))
    assert told[-1] == runs_pb2.DeleteRunsResponse(matched=4, deleted=3, unchanged=1)
    assert runtime.run_ids == run_ids[:1]


async def test_progress_is_told_and_a_client_that_leaves_stops_it(
    client: Client, runtime: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PROGRESS_SECONDS", 0.001)
    for _ in range(30):
        await client.submit()
    held = asyncio.Event()
    cancel = runtime.cancel

    async def wait(*arguments: Any) -> Any:
        await held.wait()
        return await cancel(*arguments)

    monkeypatch.setattr(runtime, "cancel", wait)
    stream = client.runs.CancelRuns(runs_pb2.CancelRunsRequest(filter=runs_pb2.RunFilter()))
    for _ in range(3):
        assert await stream.read() == runs_pb2.CancelRunsResponse(matched=30)
    before = asyncio.all_tasks()
    stream.cancel()
    while len(asyncio.all_tasks() & before) > len(before) - bulk.CONCURRENCY:  # noqa: ASYNC110
        await asyncio.sleep(0)
    held.set()
    page = await client.runs.ListRuns(runs_pb2.ListRunsRequest(filter=runs_pb2.RunFilter(states=[CANCELLED])))
    assert not page.runs


async def test_items_tell_what_executes(client: Client, runtime: ScriptedRuntime) -> None:
    run = await client.submit(inputs=3)
    await runtime.start(1)
    error = ItemError(code=-32100, message="try again")
    runtime.tell_steps(1, StepStatus("call", "/python/udf", StepState.RUNNING, 2, error=error))
    await runtime.succeed(0, '{"a":1}')
    request = runs_pb2.ListItemsRequest(run_id=run.run_id, page_size=2, include_inputs=True)
    page = await client.runs.ListItems(request)
    first, second = page.items
    assert (first.input.json, first.result.value.json, second.HasField("result")) == ("0", '{"a":1}', False)
    (step,) = second.steps
    assert (step.step_id, step.status, step.attempts) == ("call", runs_pb2.STEP_STATE_RUNNING, 2)
    assert (step.error.code, step.error.message) == (-32100, "try again")
    request.page_token = page.next_page_token
    rest = await client.runs.ListItems(request)
    assert ([item.item_index for item in rest.items], rest.next_page_token) == ([2], "")
    value = runs_pb2.RESULT_ENCODING_VALUE
    chosen = runs_pb2.ListItemsRequest(run_id=run.run_id, states=[runs_pb2.RUN_STATE_SUCCESS], result_encoding=value)
    (item,) = (await client.runs.ListItems(chosen)).items
    assert item.result.value.value.struct_value.fields["a"].number_value == 1
    assert not item.HasField("input")


@pytest.mark.parametrize("encoding", [runs_pb2.RESULT_ENCODING_JSON, runs_pb2.RESULT_ENCODING_VALUE])
async def test_items_that_are_too_large_come_without_their_texts(
    client: Client, runtime: ScriptedRuntime, encoding: Any
) -> None:
    run = await client.submit(inputs=3)
    await runtime.succeed(0, f'"{"x" * 3 * MIB}"')
    await runtime.succeed(1, WIDE)
    request = runs_pb2.ListItemsRequest(run_id=run.run_id, result_encoding=encoding, include_inputs=True)
    found: list[runs_pb2.Item] = []
    while True:
        page = await client.runs.ListItems(request)
        assert page.ByteSize() <= 4 * MIB
        found += page.items
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    fits, too_large, pending = found
    assert len(fits.result.value.json or fits.result.value.value.string_value) >= 3 * MIB
    assert (too_large.status, too_large.result.status) == (runs_pb2.RUN_STATE_SUCCESS, runs_pb2.RUN_STATE_SUCCESS)
    assert too_large.result.error.code == -32013
    assert "max_response_message_bytes" in too_large.result.error.message
    assert not too_large.HasField("input")
    assert pending.input.json or pending.input.HasField("value")
    request = runs_pb2.ListItemsRequest(run_id=run.run_id, page_size=2, max_response_message_bytes=16 * MIB)
    request.page_token = (await client.runs.ListItems(request)).next_page_token
    (whole,) = (await client.runs.ListItems(request)).items
    assert whole.result.value.json == WIDE


BAD: list[tuple[str, Any, list[str]]] = [
    ("CancelRun", runs_pb2.CancelRunRequest(run_id="run"), ["run_id"]),
    ("CancelRun", runs_pb2.CancelRunRequest(run_id=MISSING_RUN, reason="x" * 1_001), ["reason"]),
    ("CancelRuns", runs_pb2.CancelRunsRequest(), ["filter"]),
    ("DeleteRun", runs_pb2.DeleteRunRequest(), ["run_id"]),
    ("DeleteRuns", runs_pb2.DeleteRunsRequest(cancel=True), ["filter"]),
    ("ListRuns", runs_pb2.ListRunsRequest(page_size=-1), ["page_size"]),
    ("ListRuns", runs_pb2.ListRunsRequest(page_token="A" * 100_000), ["page_token"]),
    ("ListRuns", runs_pb2.ListRunsRequest(order=9), ["order"]),  # type: ignore[arg-type]
    ("ListItems", runs_pb2.ListItemsRequest(run_id=MISSING_RUN, page_token="x"), ["page_token"]),
    ("ListItems", runs_pb2.ListItemsRequest(run_id=MISSING_RUN, states=[0]), ["states[0]"]),  # type: ignore[list-item]
    ("ListItems", runs_pb2.ListItemsRequest(run_id="\N{EURO SIGN}"), ["run_id"]),
]


@pytest.mark.parametrize(("method", "request_", "fields"), BAD)
async def test_what_breaks_a_rule_is_named(client: Client, method: str, request_: Any, fields: list[str]) -> None:
    code, _, details = await failure(getattr(client.runs, method)(request_))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert violated(details) == fields


async def test_a_token_belongs_to_its_list(client: Client) -> None:
    run = await client.submit(inputs=3)
    await client.submit()
    runs = (await client.runs.ListRuns(runs_pb2.ListRunsRequest(page_size=1))).next_page_token
    items = (await client.runs.ListItems(runs_pb2.ListItemsRequest(run_id=run.run_id, page_size=1))).next_page_token
    wanted = runs_pb2.RunFilter(roots_only=True)
    calls = [
        client.runs.ListRuns(runs_pb2.ListRunsRequest(page_token=items)),
        client.runs.ListRuns(runs_pb2.ListRunsRequest(page_token=runs, filter=wanted)),
        client.runs.ListRuns(runs_pb2.ListRunsRequest(page_token=runs, order=runs_pb2.RUN_ORDER_OLDEST_FIRST)),
        client.runs.ListItems(runs_pb2.ListItemsRequest(run_id=run.run_id, page_token=runs)),
        client.runs.ListItems(
            runs_pb2.ListItemsRequest(run_id=run.run_id, page_token=items, states=[runs_pb2.RUN_STATE_PENDING])
        ),
    ]
    for call in calls:
        code, _, details = await failure(call)
        assert (code, violated(details)) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_token"])


async def test_calls_that_wait_and_all_others_have_limits_of_their_own(serve: Serve, runtime: ScriptedRuntime) -> None:
    _, client = await serve(GrpcLimits(calls=1, waits=1))
    run = await client.submit()
    runtime.stopped.clear()
    waiting = client.runs.CancelRun(runs_pb2.CancelRunRequest(run_id=run.run_id, wait=True))
    while not runtime.cancelling:  # noqa: ASYNC110
        await asyncio.sleep(0)
    code, _, _ = await failure(client.runs.CancelRuns(runs_pb2.CancelRunsRequest(filter=runs_pb2.RunFilter())))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await client.runs.ListRuns(runs_pb2.ListRunsRequest())).runs
    runtime.stopped.set()
    await waiting


REQUESTS = {
    "CancelRun": runs_pb2.CancelRunRequest,
    "ListRuns": runs_pb2.ListRunsRequest,
    "DeleteRun": runs_pb2.DeleteRunRequest,
    "CancelRuns": runs_pb2.CancelRunsRequest,
    "DeleteRuns": runs_pb2.DeleteRunsRequest,
    "ListItems": runs_pb2.ListItemsRequest,
}
_TEXTS = st.sampled_from(["", "*", "a*", MISSING_RUN, "0" * 64, "x" * 300, "\0", chr(0x10FFFF), "%s"])
_NUMBERS = st.sampled_from([0, 1, 2, 5, 6, 2**31 - 1, -1, -(2**31)])


@st.composite
def _messages(draw: st.DrawFn, kind: Descriptor) -> dict[str, Any]:
    """The fields of a message, each of which may be anything that its type can hold."""
    fields: dict[str, Any] = {}
    for field in kind.fields:
        if not draw(st.booleans()):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            fields[field.name] = draw(st.dictionaries(_TEXTS, _TEXTS, max_size=3))
            continue
        value: st.SearchStrategy[Any]
        if field.message_type is not None:
            value = _messages(field.message_type)
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL):
            value = _TEXTS if field.type == FieldDescriptor.TYPE_STRING else st.booleans()
        elif field.type == FieldDescriptor.TYPE_UINT32:
            value = st.sampled_from([0, 1, 2**32 - 1])
        else:
            value = _NUMBERS
        fields[field.name] = draw(st.lists(value, max_size=3) if field.is_repeated else value)
    return fields


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), method=st.sampled_from(sorted(REQUESTS)))
async def test_no_request_causes_anything_but_an_answer(client: Client, data: Any, method: str) -> None:
    kind: Any = REQUESTS[method]
    call = getattr(client.runs, method)(kind(**data.draw(_messages(kind.DESCRIPTOR))))
    try:
        await (read_all(call) if hasattr(call, "read") else call)
    except grpc.aio.AioRpcError as error:
        if error.code() not in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
            raise
