import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from gateway.adapter import status_proto
from gateway.core.model import GetParams
from gateway.fronts.grpc import GrpcLimits
from gateway.fronts.grpc.watch_runs import MAX_ANSWERS
from gateway.runs.service import RunsService
from runs.v1 import runs_pb2
from tests.support.followers import followed, unwatched
from tests.support.grpc_calls import Client, Serve, details, failure, read_all, violated
from tests.support.scripted_runtime import MISSING_RUN, ScriptedRuntime, fold
from tests.support.tasks import all_ended

SUCCESS = runs_pb2.RUN_STATE_SUCCESS


def adding(run_id: str, *, wait: bool = True, include_results: bool = True, **fields: Any) -> runs_pb2.WatchRunsRequest:
    add = runs_pb2.GetRunRequest(run_id=run_id, wait=wait, include_results=include_results, **fields)
    return runs_pb2.WatchRunsRequest(add=add)


def removing(run_id: str) -> runs_pb2.WatchRunsRequest:
    return runs_pb2.WatchRunsRequest(remove=run_id)


def events(responses: list[Any], run_id: str) -> list[str]:
    return [response.WhichOneof("event") for response in responses if response.run_id == run_id]


def updates(responses: list[Any], run_id: str) -> list[Any]:
    return [response.update for response in responses if response.run_id == run_id and response.HasField("update")]


async def test_runs_are_followed_as_getrun_follows_them(
    client: Client, service: RunsService, runtime: ScriptedRuntime
) -> None:
    ids = [(await client.submit()).run_id for _ in range(3)]
    stream = client.watch()
    for run_id in ids:
        await stream.write(adding(run_id, result_order=runs_pb2.RESULT_ORDER_BY_COMPLETION))
    await stream.done_writing()
    responses: list[Any] = [await stream.read() for _ in ids]
    for index in (2, 0, 3, 1):
        for run_id in ids:
            await runtime.succeed(index, str(index), run_id=run_id)
    responses += await read_all(stream)
    assert await stream.code() is grpc.StatusCode.OK
    for run_id in ids:
        assert events(responses, run_id)[-1] == "ended"
        assert set(events(responses, run_id)[:-1]) == {"update"}
        messages = updates(responses, run_id)
        revisions = [message.revision for message in messages]
        assert revisions == sorted(revisions)
        assert len({message.resume_token for message in messages}) == len(messages)
        statuses = [status_proto.run_status_from_proto(message.run, with_results=True) for message in messages]
        (answer,) = await read_all(
            client.get(run_id, include_results=True, result_order=runs_pb2.RESULT_ORDER_BY_COMPLETION)
        )
        assert fold(statuses) == status_proto.run_status_from_proto(answer.run, with_results=True)
    await unwatched(service)


async def test_a_run_that_is_not_waited_for_ends_after_its_state(client: Client) -> None:
    run = await client.submit()
    stream = client.watch()
    await stream.write(adding(run.run_id.upper(), wait=False))
    await stream.done_writing()
    responses = await read_all(stream)
    assert events(responses, run.run_id.upper()) == ["update", "ended"]
    assert updates(responses, run.run_id.upper())[0].run == run


async def test_the_stream_outlives_the_runs_until_the_client_closes_its_side(
    client: Client, runtime: ScriptedRuntime
) -> None:
    stream = client.watch()
    for _ in range(2):
        run = await client.submit(inputs=1)
        await runtime.succeed(0)
        await stream.write(adding(run.run_id))
        assert (await stream.read()).update.run.status == SUCCESS
        assert (await stream.read()).WhichOneof("event") == "ended"
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF


@pytest.mark.parametrize(
    ("request_", "code", "fields"),
    [
        (adding(MISSING_RUN), grpc.StatusCode.NOT_FOUND, None),
        (adding(MISSING_RUN, wait=False), grpc.StatusCode.NOT_FOUND, None),
        (adding("run"), grpc.StatusCode.INVALID_ARGUMENT, ["run_id"]),
        (adding("x" * 100_000), grpc.StatusCode.INVALID_ARGUMENT, ["run_id"]),
        (adding(""), grpc.StatusCode.INVALID_ARGUMENT, ["run_id"]),
        (adding(MISSING_RUN, result_order=77), grpc.StatusCode.INVALID_ARGUMENT, ["result_order"]),
        (
            adding(MISSING_RUN, heartbeat_interval=Duration(nanos=1)),
            grpc.StatusCode.INVALID_ARGUMENT,
            ["heartbeat_interval"],
        ),
    ],
)
async def test_an_error_of_one_run_leaves_the_others_alone(
    client: Client,
    runtime: ScriptedRuntime,
    request_: runs_pb2.WatchRunsRequest,
    code: grpc.StatusCode,
    fields: list[str] | None,
) -> None:
    run = await client.submit(inputs=1)
    stream = client.watch()
    await stream.write(adding(run.run_id))
    await stream.read()
    await stream.write(request_)
    failed = await stream.read()
    assert failed.run_id == request_.add.run_id[:255]
    assert failed.error.code == code.value[0]
    found = details(failed.error.status_details, failed.error.code, failed.error.message)
    assert found["ErrorInfo"].domain == "runs-gateway"
    if fields is not None:
        assert violated(found) == fields
    await runtime.succeed(0)
    assert (await stream.read()).update.run.status == SUCCESS


async def test_a_defect_of_one_run_is_an_id_alone(
    client: Client, runtime: ScriptedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    run = await client.submit()
    stream = client.watch()
    await stream.write(adding(run.run_id))
    await stream.read()
    await runtime.break_down(ValueError("the secret"))
    failed = await stream.read()
    assert failed.error.code == grpc.StatusCode.INTERNAL.value[0]
    assert "secret" not in str(failed)
    assert "the secret" in caplog.text


async def test_a_request_without_an_action_ends_the_stream(client: Client, service: RunsService) -> None:
    run = await client.submit()
    stream = client.watch()
    await stream.write(adding(run.run_id))
    await stream.read()
    await stream.write(runs_pb2.WatchRunsRequest())
    code, _, found = await failure(stream)
    assert (code, violated(found)) == (grpc.StatusCode.INVALID_ARGUMENT, ["action"])
    await unwatched(service)


async def test_nothing_is_sent_for_a_run_that_was_removed(
    client: Client, service: RunsService, runtime: ScriptedRuntime
) -> None:
    stay, leave = [(await client.submit(inputs=2)).run_id for _ in range(2)]
    stream = client.watch()
    for run_id in (stay, leave):
        await stream.write(adding(run_id))
        await stream.read()
    await stream.write(removing(leave.upper()))
    ended = await stream.read()
    assert (ended.run_id, ended.WhichOneof("event")) == (leave, "ended")
    await followed(service, 1)
    for run_id in (leave, stay):
        for index in range(2):
            await runtime.succeed(index, run_id=run_id)
    await stream.write(removing(MISSING_RUN))
    await stream.done_writing()
    responses = await read_all(stream)
    assert events(responses, leave) == []
    assert events(responses, stay)[-1] == "ended"
    assert events(responses, MISSING_RUN) == ["ended"]


async def test_a_run_that_is_added_again_is_followed_anew(
    client: Client, service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await client.submit(inputs=2)
    await runtime.succeed(0)
    stream = client.watch()
    await stream.write(adding(run.run_id))
    first = await stream.read()
    await stream.write(adding(run.run_id.upper(), include_results=False))
    again = await stream.read()
    assert again.run_id == run.run_id.upper()
    assert (len(first.update.run.results), len(again.update.run.results)) == (1, 0)
    await followed(service, 1)
    await stream.write(adding(run.run_id, resume_token=first.update.resume_token))
    resumed = await stream.read()
    assert (len(resumed.update.run.results), resumed.update.restarted) == (0, False)
    await runtime.succeed(1)
    assert [result.item_index for result in (await stream.read()).update.run.results] == [1]
    await stream.write(adding(run.run_id, resume_token=b"forged"))
    assert (await stream.read()).WhichOneof("event") == "ended"
    restarted = await stream.read()
    assert (len(restarted.update.run.results), restarted.update.restarted) == (2, True)


async def test_results_come_in_messages_of_about_a_mebibyte(client: Client, runtime: ScriptedRuntime) -> None:
    run = await client.submit(inputs=40)
    for index in range(40):
        await runtime.succeed(index, '"' + "x" * 100_000 + '"')
    stream = client.watch()
    await stream.write(adding(run.run_id))
    await stream.done_writing()
    responses = await read_all(stream)
    assert max(response.ByteSize() for response in responses) < 1.1 * 2**20
    results = [result.item_index for message in updates(responses, run.run_id) for result in message.run.results]
    assert results == list(range(40))


async def test_heartbeats_tell_that_a_run_is_still_followed(client: Client) -> None:
    runs = [(await client.submit()).run_id for _ in range(2)]
    stream = client.watch()
    await stream.write(adding(runs[0], heartbeat_interval=Duration(nanos=100_000_000)))
    await stream.write(adding(runs[1]))
    responses = [await stream.read() for _ in range(5)]
    assert [message.heartbeat for message in updates(responses, runs[0])] == [False, True, True, True]
    assert [message.heartbeat for message in updates(responses, runs[1])] == [False]


async def test_a_timeout_ends_one_run(client: Client) -> None:
    ended, kept = [(await client.submit()).run_id for _ in range(2)]
    stream = client.watch()
    await stream.write(adding(kept))
    await stream.read()
    await stream.write(adding(ended, timeout=Duration(nanos=1)))
    responses = [await stream.read() for _ in range(3)]
    assert events(responses, ended) == ["update", "update", "ended"]
    await stream.write(adding(ended, timeout=Duration()))
    responses = [await stream.read() for _ in range(2)]
    assert events(responses, ended) == ["update", "ended"]


async def test_the_deadline_of_the_call_ends_every_run(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runs.deadlines.LEAST_MARGIN", 60.0)
    run = await client.submit()
    stream = client.watch(timeout=60)
    await stream.write(adding(run.run_id))
    await stream.done_writing()
    assert events(await read_all(stream), run.run_id)[-1] == "ended"
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_slow_reader_gets_the_latest_states_and_every_result(client: Client, runtime: ScriptedRuntime) -> None:
    """All runs change many times before the client reads; a stream holds one message of each at most meanwhile."""
    ids = [(await client.submit(inputs=30)).run_id for _ in range(20)]
    stream = client.watch()
    for run_id in ids:
        await stream.write(adding(run_id))
    await stream.done_writing()
    for index in range(30):
        for run_id in ids:
            await runtime.succeed(index, '"' + "x" * 2_000 + '"', run_id=run_id)
    responses = await read_all(stream)
    for run_id in ids:
        results = [result.item_index for message in updates(responses, run_id) for result in message.run.results]
        assert results == list(range(30))
        assert updates(responses, run_id)[-1].run.status == SUCCESS


async def test_many_runs_share_a_stream(client: Client, service: RunsService, runtime: ScriptedRuntime) -> None:
    ids = [(await client.submit(inputs=1)).run_id for _ in range(500)]
    stream = client.watch()
    for run_id in ids:
        await stream.write(adding(run_id))
    await stream.done_writing()
    first = [await stream.read() for _ in ids]
    assert {response.run_id for response in first} == set(ids)
    await followed(service, 500)
    for run_id in ids:
        await runtime.succeed(0, run_id=run_id)
    rest = await read_all(stream)
    assert {response.run_id for response in rest if response.HasField("ended")} == set(ids)
    await unwatched(service)


async def test_a_run_that_has_ended_is_told_wholly_before_the_next_one(
    client: Client, runtime: ScriptedRuntime
) -> None:
    """A client that is cut after every few messages has fewer runs to ask for each time."""
    ids = [(await client.submit(inputs=1)).run_id for _ in range(100)]
    for run_id in ids:
        await runtime.succeed(0, run_id=run_id)
    stream = client.watch()
    for run_id in ids:
        await stream.write(adding(run_id))
    await stream.done_writing()
    told = [(response.run_id, response.WhichOneof("event")) for response in await read_all(stream)]
    assert told == [(run_id, event) for run_id in ids for event in ("update", "ended")]


async def test_a_long_result_holds_up_no_other_run(client: Client, runtime: ScriptedRuntime) -> None:
    long, short = [(await client.submit(inputs=inputs)).run_id for inputs in (40, 1)]
    for index in range(40):
        await runtime.succeed(index, '"' + "x" * 100_000 + '"', run_id=long)
    await runtime.succeed(0, run_id=short)
    stream = client.watch()
    for run_id in (long, short):
        await stream.write(adding(run_id))
    await stream.done_writing()
    ends = [response.run_id for response in await read_all(stream) if response.HasField("ended")]
    assert ends == [short, long]


async def test_runs_are_bounded_per_stream_and_altogether(serve: Serve) -> None:
    _, client = await serve(GrpcLimits(runs=2, followed=3))
    ids = [(await client.submit()).run_id for _ in range(3)]
    streams = [client.watch() for _ in range(2)]
    for run_id in ids[:2]:
        await streams[0].write(adding(run_id))
        assert (await streams[0].read()).HasField("update")
    await streams[1].write(adding(ids[0]))
    await streams[1].read()
    for stream, text in zip(streams, ("on one stream", "at once"), strict=True):
        await stream.write(adding(ids[2]))
        refused = await stream.read()
        assert refused.run_id == ids[2]
        assert refused.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert text in refused.error.message
    await streams[0].write(adding(ids[0]))
    assert (await streams[0].read()).HasField("update")
    await streams[0].write(removing(ids[0]))
    await streams[0].read()
    await streams[1].write(adding(ids[2]))
    assert (await streams[1].read()).HasField("update")


async def test_answers_that_nobody_reads_hold_up_further_requests(client: Client) -> None:
    stream = client.watch()
    number = 5 * MAX_ANSWERS

    async def remove_all() -> None:
        for _ in range(number):
            await stream.write(removing("x" * 1_000))
        await stream.done_writing()

    removing_all = asyncio.create_task(remove_all())
    answers = [await stream.read() for _ in range(number)]
    assert {answer.run_id for answer in answers} == {"x" * 255}
    await removing_all
    assert await stream.read() is grpc.aio.EOF


# Leaving


@pytest.mark.parametrize("after", range(7))
async def test_a_client_that_leaves_at_any_message_leaves_nothing_behind(
    serve: Serve, service: RunsService, runtime: ScriptedRuntime, after: int
) -> None:
    front, client = await serve()
    ids = [(await client.submit(inputs=2)).run_id for _ in range(3)]
    stream = client.watch()
    for run_id in (*ids, MISSING_RUN):
        await stream.write(adding(run_id))
    for number in range(after):
        if number == 4:
            for run_id in ids:
                await runtime.succeed(0, run_id=run_id)
        await stream.read()
    await runtime.watched(3)
    stream.cancel()
    await unwatched(service)
    await runtime.watched(0)
    await client.close()
    await front.stop(600)
    await all_ended()


async def test_a_client_that_does_not_read_is_let_go(
    serve: Serve, service: RunsService, runtime: ScriptedRuntime
) -> None:
    front, client = await serve()
    ids = [(await client.submit(inputs=20)).run_id for _ in range(5)]
    stream = client.watch()
    for run_id in ids:
        await stream.write(adding(run_id))
    await followed(service, 5)
    for index in range(20):
        for run_id in ids:
            await runtime.succeed(index, '"' + "x" * 100_000 + '"', run_id=run_id)
    stream.cancel()
    await unwatched(service)
    await client.close()
    await front.stop(600)
    await all_ended()


async def test_a_drain_ends_the_stream_with_a_hint_to_retry(
    client: Client, service: RunsService, runtime: ScriptedRuntime
) -> None:
    stream = client.watch()
    for _ in range(2):
        await stream.write(adding((await client.submit()).run_id))
        await stream.read()
    await runtime.drain()
    code, _, found = await failure(stream)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert found["RetryInfo"].retry_delay.seconds == 1
    await unwatched(service)


@pytest.mark.parametrize("runs", [0, 1])
async def test_a_stop_ends_the_stream_at_once(serve: Serve, runs: int) -> None:
    front, client = await serve()
    stream = client.watch()
    await stream.write(removing(MISSING_RUN))
    await stream.read()
    for _ in range(runs):
        await stream.write(adding((await client.submit()).run_id))
        await stream.read()
    await front.stop(600)
    code, _, found = await failure(stream)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert found["RetryInfo"].retry_delay.seconds == 1


async def test_streams_count_as_waiting_calls(serve: Serve) -> None:
    _, client = await serve(GrpcLimits(waits=1))
    run = await client.submit()
    stream = client.watch()
    await stream.write(adding(run.run_id))
    await stream.read()
    code, _, found = await failure(client.watch())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found["ErrorInfo"].reason == "OVERLOADED"


async def test_parameters_reach_the_service(client: Client, service: RunsService, runtime: ScriptedRuntime) -> None:
    run = await client.submit(inputs=2)
    await runtime.succeed(1)
    stream = client.watch()
    await stream.write(adding(run.run_id, wait=False, result_encoding=runs_pb2.RESULT_ENCODING_VALUE))
    message = (await stream.read()).update
    assert message.run.results[0].value.HasField("value")
    answer = await service.get(GetParams(run_id=run.run_id, include_results=True))
    assert status_proto.run_status_from_proto(message.run, with_results=True) == answer
