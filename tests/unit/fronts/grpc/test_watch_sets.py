"""Sets on WatchRuns streams, over the embedded runtime."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from gateway.adapter.status_proto import run_status_to_proto
from gateway.fronts.grpc import GrpcLimits
from gateway.runs.service import RunsService
from runs.v1 import runs_pb2
from tests.support.embedded import Embedded, opened
from tests.support.grpc_calls import Serve

AT_ONCE = {"steps": [], "output": {"$input": "$"}}
ADDED, CHANGED, LEFT = runs_pb2.SET_EVENT_ADDED, runs_pb2.SET_EVENT_CHANGED, runs_pb2.SET_EVENT_LEFT


@pytest.fixture
async def embedded() -> AsyncIterator[Embedded]:
    async with opened() as embedded:
        await embedded.start()
        yield embedded


@pytest.fixture
def service(embedded: Embedded) -> RunsService:
    return embedded.service


def adding(name: str, **fields: Any) -> runs_pb2.WatchRunsRequest:
    return runs_pb2.WatchRunsRequest(add_set=runs_pb2.WatchSet(name=name, **fields))


def removing(name: str) -> runs_pb2.WatchRunsRequest:
    return runs_pb2.WatchRunsRequest(remove_set=name)


async def until_caught_up(stream: Any) -> list[Any]:
    responses: list[Any] = []
    while not responses or not responses[-1].HasField("caught_up"):
        responses.append(await stream.read())
    return responses


async def test_a_set_is_told_then_caught_up_then_what_happens(serve: Serve, embedded: Embedded) -> None:
    _, client = await serve()
    first = [await embedded.submit(AT_ONCE, n) for n in range(3)]
    stream = client.watch()
    await stream.write(adding("all"))
    responses = await until_caught_up(stream)
    assert [response.run_id for response in responses] == [*(status.run_id for status in first), ""]
    assert {response.set for response in responses} == {"all"}
    assert [response.set_event for response in responses] == [ADDED] * 3 + [0]
    told = [response.update.run for response in responses[:3]]
    expected = [(await embedded.runtime.get(status.run_id)).status for status in first]
    assert told == [run_status_to_proto(status) for status in expected]
    assert responses[-1].caught_up.set == "all"
    assert responses[-1].caught_up.resume_token
    assert not responses[-1].caught_up.restarted
    later = await embedded.submit(AT_ONCE, 9)
    response = await stream.read()
    assert (response.run_id, response.set_event) == (later.run_id, ADDED)
    assert response.update.resume_token > responses[-1].caught_up.resume_token
    await stream.write(removing("all"))
    ended = await stream.read()
    assert (ended.set, ended.WhichOneof("event")) == ("all", "ended")
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF


async def test_results_come_with_the_end_of_a_run(serve: Serve, embedded: Embedded) -> None:
    _, client = await serve()
    stream = client.watch()
    await stream.write(adding("new", only_new=True, include_results=True))
    assert len(await until_caught_up(stream)) == 1
    await embedded.submit(AT_ONCE, *["x" * 400_000] * 8)
    parts: list[Any] = []
    while not parts or not parts[-1].update.resume_token:
        response = await stream.read()
        if response.update.run.HasField("completed_at"):
            parts.append(response)
    assert len(parts) > 1
    results = [result for part in parts for result in part.update.run.results]
    assert [result.item_index for result in results] == list(range(8))
    assert max(part.ByteSize() for part in parts) < 2 << 20


async def test_a_token_goes_on_and_another_one_starts_anew(serve: Serve, embedded: Embedded) -> None:
    _, client = await serve()
    await embedded.submit(AT_ONCE, 1)
    stream = client.watch()
    await stream.write(adding("a"))
    token = (await until_caught_up(stream))[-1].caught_up.resume_token
    stream.cancel()
    later = await embedded.submit(AT_ONCE, 2)
    stream = client.watch()
    await stream.write(adding("b", resume_token=token))
    responses = await until_caught_up(stream)
    assert [response.run_id for response in responses] == [later.run_id, ""]
    assert not responses[0].update.restarted
    await stream.write(adding("c", resume_token=b"garbage"))
    responses = await until_caught_up(stream)
    assert [response.update.restarted for response in responses] == [True, False, False]
    await stream.write(adding("d", resume_token=b"garbage", filter=runs_pb2.RunFilter(flow_label="none")))
    (response,) = await until_caught_up(stream)
    assert response.caught_up.restarted


async def test_errors_name_the_set_and_leave_others_alone(serve: Serve, embedded: Embedded) -> None:
    _, client = await serve()
    stream = client.watch()
    await stream.write(adding("good"))
    await until_caught_up(stream)
    bad = [
        (adding("bad", filter=runs_pb2.RunFilter(flow_ids=["x"])), "filter.flow_ids[0]"),
        (adding("bad", filter=runs_pb2.RunFilter(flow_name="a*b")), "filter.flow_name"),
        (adding("bad", only_new=True, resume_token=b"x"), "only_new"),
        (adding("b" * 300), "name"),
        (adding(""), "name"),
    ]
    for request, path in bad:
        await stream.write(request)
        response = await stream.read()
        assert response.set == request.add_set.name[:255]
        assert response.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert path in response.error.message
    await stream.write(removing("never added"))
    assert (await stream.read()).HasField("ended")
    status = await embedded.submit(AT_ONCE, 1)
    assert (await stream.read()).run_id == status.run_id


async def test_sets_are_bounded_per_stream_and_altogether(serve: Serve) -> None:
    _, client = await serve(GrpcLimits(sets=2, followed_sets=3))
    streams = [client.watch() for _ in range(2)]
    for name in ("a", "b"):
        await streams[0].write(adding(name))
        await until_caught_up(streams[0])
    await streams[1].write(adding("a"))
    await until_caught_up(streams[1])
    for stream, text in zip(streams, ("on one stream", "at once"), strict=True):
        await stream.write(adding("c"))
        refused = await stream.read()
        assert refused.set == "c"
        assert refused.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert text in refused.error.message
    await streams[0].write(adding("a"))
    await until_caught_up(streams[0])
    await streams[0].write(removing("a"))
    await streams[0].read()
    await streams[1].write(adding("c"))
    await until_caught_up(streams[1])
    for stream in streams:
        stream.cancel()


async def test_a_drain_ends_the_stream(serve: Serve, embedded: Embedded) -> None:
    _, client = await serve()
    stream = client.watch()
    await stream.write(adding("all"))
    await until_caught_up(stream)
    await embedded.runtime.drain()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
