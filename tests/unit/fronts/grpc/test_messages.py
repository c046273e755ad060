"""Streams of GetRun: messages that are built once for all, positions in them, readers of every pace."""

import asyncio
import random
from typing import Any, TypeAlias
from unittest.mock import Mock

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from gateway.adapter import params_proto, status_proto
from gateway.adapter.long_results import with_long_result
from gateway.core.model import GetParams, ItemError
from gateway.runs.service import RunsService
from runs.v1 import runs_pb2
from tests.support.followers import followed, unwatched
from tests.support.grpc_calls import Client, Serve, read_all
from tests.support.scripted_runtime import ScriptedRuntime, fold
from tests.support.tasks import all_ended

JSON, VALUE = runs_pb2.RESULT_ENCODING_JSON, runs_pb2.RESULT_ENCODING_VALUE
ORDERS = [runs_pb2.RESULT_ORDER_BY_INDEX, runs_pb2.RESULT_ORDER_BY_COMPLETION]

Encoding: TypeAlias = runs_pb2.ResultEncoding.ValueType
Order: TypeAlias = runs_pb2.ResultOrder.ValueType


def indexes(messages: list[Any]) -> list[int]:
    return [result.item_index for message in messages for result in message.run.results]


async def read_and_leave(client: Client, count: int, **fields: Any) -> list[Any]:
    """The first messages of a stream, up to `count` of them."""
    stream = client.get(**fields)
    messages: list[Any] = []
    while len(messages) < count and (message := await stream.read()) is not grpc.aio.EOF:
        messages.append(message)
    stream.cancel()
    return messages


@pytest.mark.parametrize("encoding", [JSON, VALUE])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("wait", [False, True])
async def test_a_stream_cut_at_any_message_goes_on_exactly_there(
    client: Client, service: RunsService, runtime: ScriptedRuntime, wait: bool, order: Order, encoding: Encoding
) -> None:
    """Of a run with gaps, and with pages of results that are sent in several messages."""
    run = await client.submit(inputs=1_000)
    for index in random.Random(1).sample(range(1_000), 1_000):
        if not index % 10:
            await runtime.succeed(index, f'["{index}"]')
        elif wait or index % 97:
            await runtime.fail(index, ItemError(code=-32100, message=f"failed {index}"))
    request: dict[str, Any] = {
        "run_id": run.run_id,
        "wait": wait,
        "include_results": True,
        "result_order": order,
        "result_encoding": encoding,
    }
    whole = await read_all(client.get(**request))
    assert len(whole) > 3
    assert len({message.resume_token for message in whole}) == len(whole)
    for cut, last in enumerate(whole, 1):
        rest = await read_all(client.get(**request, resume_token=last.resume_token))
        assert indexes(whole[:cut]) + indexes(rest) == indexes(whole)
        assert not any(message.restarted for message in rest)
        assert rest[-1].run.status == whole[-1].run.status


@pytest.mark.parametrize("seed", range(20))
async def test_streams_that_are_cut_fold_to_the_answer_of_get(
    client: Client, service: RunsService, runtime: ScriptedRuntime, seed: int
) -> None:
    chance = random.Random(seed)
    total = chance.choice([1, 5, 40, 300])
    run = await client.submit(inputs=total)
    request: dict[str, Any] = {
        "run_id": run.run_id,
        "wait": True,
        "include_results": chance.random() < 0.8,
        "result_order": chance.choice(ORDERS),
        "result_encoding": chance.choice([JSON, VALUE]),
    }
    size = chance.choice([1, 1_000, 20_000])

    async def execute() -> None:
        for index in chance.sample(range(total), total):
            if chance.random() < 0.2:
                await runtime.fail(index, ItemError(code=-32100, message="failed", data=f'"{index}"'))
            else:
                await runtime.succeed(index, '"' + "x" * chance.randrange(size) + '"')
            await asyncio.sleep(0)

    executing = asyncio.create_task(execute())
    messages: list[Any] = []
    while not messages or messages[-1].run.status not in (runs_pb2.RUN_STATE_SUCCESS, runs_pb2.RUN_STATE_FAILED):
        token = messages[-1].resume_token if messages else b""
        messages += await read_and_leave(client, chance.randrange(1, 10), **request, resume_token=token)
    await executing
    token = messages[-1].resume_token
    messages += await read_all(client.get(**request, resume_token=token))
    statuses = [
        status_proto.run_status_from_proto(each.run, with_results=request["include_results"]) for each in messages
    ]
    params = params_proto.get_params_from_proto(runs_pb2.GetRunRequest(**request))
    assert fold(statuses) == await service.get(params)
    revisions = [message.revision for message in messages]
    assert revisions == sorted(revisions)
    assert not any(message.restarted or message.heartbeat for message in messages)
    await unwatched(service)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("wait", [False, True])
async def test_a_token_that_means_nothing_starts_anew_and_says_so(
    client: Client, runtime: ScriptedRuntime, wait: bool, order: Order
) -> None:
    other = await client.submit(inputs=2)
    (foreign,) = await read_all(client.get(other.run_id, result_order=order))
    run = await client.submit(inputs=600)
    for index in range(600):
        await runtime.succeed(index)
    request: dict[str, Any] = {"run_id": run.run_id, "wait": wait, "include_results": True, "result_order": order}
    for token in (b"forged", b"\0" * 34, foreign.resume_token, b"x" * 100_000):
        messages = await read_all(client.get(**request, resume_token=token))
        assert indexes(messages) == list(range(600))
        assert [message.restarted for message in messages] == [True] + [False] * (len(messages) - 1)


async def test_heartbeats_come_while_nothing_happens(client: Client, runtime: ScriptedRuntime) -> None:
    run = await client.submit(inputs=2)
    await runtime.succeed(0)
    stream = client.get(run.run_id, wait=True, include_results=True, heartbeat_interval=Duration(nanos=100_000_000))
    first, second, third = [await stream.read() for _ in range(3)]
    assert [message.heartbeat for message in (first, second, third)] == [False, True, True]
    assert (len(first.run.results), len(second.run.results), second.run.items.success) == (1, 0, 1)
    assert (second.revision, second.resume_token) == (first.revision, first.resume_token)
    assert (first.finished_prefix, second.finished_prefix) == (1, 1)
    assert (first.result_count, second.result_count) == (1, 1)
    await runtime.succeed(1)
    rest = await read_all(stream)
    assert (rest[-1].heartbeat, indexes(rest)) == (False, [1])


# Sharing


async def test_a_message_is_built_once_for_all_who_follow(
    client: Client, service: RunsService, runtime: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[int, Encoding]] = []
    build = status_proto.set_run_status

    def counting(message: runs_pb2.RunStatus, status: Any, encoding: Encoding) -> None:
        built.append((status.items.success, encoding))
        build(message, status, encoding)

    run = await client.submit(inputs=3)
    monkeypatch.setattr(status_proto, "set_run_status", counting)
    kinds: list[dict[str, Any]] = [
        {},
        {"include_results": True},
        {"include_results": True, "result_encoding": VALUE},
    ]
    streams = [client.get(run.run_id, wait=True, **fields) for fields in kinds for _ in range(50)]
    for success in range(4):
        messages = await asyncio.gather(*(stream.read() for stream in streams))
        assert {message.run.items.success for message in messages} == {success}
        assert len({message.SerializeToString() for message in messages}) <= len(kinds)
        assert len(built) == len(kinds)
        built.clear()
        if success < 3:
            await runtime.succeed(success)
    assert [await read_all(stream) for stream in streams] == [[]] * len(streams)
    await unwatched(service)


async def test_messages_have_as_many_results_as_make_a_short_piece_of_work(
    client: Client, runtime: ScriptedRuntime
) -> None:
    run = await client.submit(inputs=2_000)
    for index in range(1_000):
        await runtime.succeed(index)
    for index in range(1_000, 2_000):
        await runtime.fail(index, ItemError(code=-32100, message="failed"))
    messages = await read_all(client.get(run_id=run.run_id, include_results=True))
    assert indexes(messages) == list(range(2_000))
    assert [len(message.run.results) for message in messages][:2] == [512, 512]
    assert max(len(message.run.results) for message in messages[2:]) <= 256


# Leaving, and not reading


@pytest.mark.parametrize("after", range(8))
async def test_a_client_that_leaves_at_any_message_leaves_nothing_behind(
    serve: Serve, service: RunsService, runtime: ScriptedRuntime, after: int
) -> None:
    front, client = await serve()
    run = await client.submit(inputs=2_000)
    for index in range(1_000):  # Four messages: those with failures are short.
        await runtime.fail(index, ItemError(code=-32100, message="failed"))
    request: dict[str, Any] = {"run_id": run.run_id, "wait": True, "include_results": True}
    stream = client.get(**request)
    messages = [await stream.read() for _ in range(min(after, 4))]
    for index in range(1_000, 1_000 + after):
        await runtime.succeed(index)
        if after > 4:
            messages.append(await stream.read())
    await followed(service, 1)
    stream.cancel()
    await unwatched(service)
    await runtime.watched(0)
    await client.close()
    await front.stop(600)
    await all_ended()


async def test_clients_that_do_not_read_hold_nobody_up(
    serve: Serve, service: RunsService, runtime: ScriptedRuntime
) -> None:
    front, client = await serve()
    stalled = Client(front.address)
    run = await client.submit(inputs=100)
    request: dict[str, Any] = {"run_id": run.run_id, "wait": True, "include_results": True}
    silent = [stalled.get(**request) for _ in range(5)]
    healthy = [asyncio.create_task(read_all(client.get(**request))) for _ in range(20)]
    await followed(service, 25)
    for index in range(100):
        await runtime.succeed(index, '"' + "x" * 100_000 + '"')
    for messages in await asyncio.gather(*healthy):
        assert indexes(messages) == list(range(100))
        assert messages[-1].run.status == runs_pb2.RUN_STATE_SUCCESS
    # Whoever begins to read at last has missed states in between, and no result.
    assert indexes(await read_all(silent[0])) == list(range(100))
    for stream in silent[1:]:
        stream.cancel()
    await stalled.close()
    await unwatched(service)


async def test_the_answer_of_get_is_what_the_stream_folds_to(client: Client, service: RunsService) -> None:
    run = await client.submit(inputs=0)
    (message,) = await read_all(client.get(run.run_id, wait=True, include_results=True))
    answer = await service.get(GetParams(run_id=run.run_id, include_results=True))
    assert status_proto.run_status_from_proto(message.run, with_results=True) == answer


@pytest.mark.parametrize("encoding", [runs_pb2.RESULT_ENCODING_UNSPECIFIED, JSON, VALUE])
async def test_followers_build_a_long_result_together(
    client: Client, runtime: ScriptedRuntime, encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Mock(side_effect=with_long_result)
    monkeypatch.setattr("gateway.fronts.grpc.messages.with_long_result", built)
    run = await client.submit(inputs=3)
    long = '"' + "é" * (2 << 20) + '"'
    for index, value in enumerate(["1", long, "2"]):
        await runtime.succeed(index, value)
    streams = [
        client.get(run_id=run.run_id, include_results=True, result_encoding=encoding, wait=number % 2 == 0)
        for number in range(4)
    ]
    for received in await asyncio.gather(*map(read_all, streams)):
        assert indexes(received) == [0, 1, 2]
        statuses = [status_proto.run_status_from_proto(message.run, with_results=True) for message in received]
        values = [result.value for status in statuses for result in status.results or ()]
        assert values == ["1", long, "2"]
    assert built.called == (encoding != VALUE)
