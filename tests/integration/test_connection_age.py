"""Connections with an age: streams end and go on, and what they tell is right in the end."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from gateway.client import AsyncRunsClient, RunsClient, RunUpdate
from gateway.client.channels import CHANNEL_OPTIONS
from gateway.client.streams import Fold
from gateway.core.model import ResultOrder, SubmitParams
from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.fronts.grpc.server import Transport
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.runtimes.relay.runtime import RelayRuntime
from runs.v1 import runs_pb2_grpc
from tests.support.command_line import CommandLine, Serving
from tests.support.component_health import components_available
from tests.support.ending_streams import EndingStreams, FollowedRun
from tests.support.event_stream import Event, folded, following
from tests.support.held_component import HELD, HeldComponent
from tests.support.scripted_runtime import FLOW, ScriptedRuntime

ITEMS = 200
HELD_ITEMS = 28
LEAST = 3
"""How often each of a thousand streams goes on, however long it takes."""


class Gateway:
    """Both fronts over one runtime, and what follows its run."""

    def __init__(self, runtime: ScriptedRuntime, grpc: str, http: str) -> None:
        self.runtime = runtime
        self.grpc = grpc
        self.http = f"http://{http}/"
        self.run_id = ""
        self.streams: list[asyncio.Task[None]] = []
        self.counts: list[int] = []
        self.moved = asyncio.Event()

    def follow(self, stream: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> None:
        """Begin a stream, which calls what it is given each time it has gone on elsewhere."""
        number = len(self.counts)
        self.counts.append(0)

        def note() -> None:
            self.counts[number] += 1
            self.moved.set()

        task = asyncio.create_task(stream(note))
        task.add_done_callback(lambda _: self.moved.set())
        self.streams.append(task)

    async def leave(self) -> None:
        """Follow nothing any more."""
        for stream in self.streams:
            stream.cancel()
        await asyncio.gather(*self.streams, return_exceptions=True)

    async def drive(self, ends: int) -> None:
        """Let the items of the run end one by one, while the streams go on `ends` times on average."""
        for index in range(ITEMS):
            while sum(self.counts) < index * len(self.counts) * ends // ITEMS:
                self.moved.clear()
                await self.moved.wait()
                if any(stream.done() for stream in self.streams):
                    await asyncio.gather(*self.streams)
            await self.runtime.succeed(index, str(index), run_id=self.run_id)
        await asyncio.gather(*self.streams)
        assert min(self.counts) >= ends // 2


@pytest.fixture(params=["grpcio", "native"])
def transport(request: pytest.FixtureRequest) -> Transport:
    transport: Transport = request.param
    return transport


async def serving(stack: AsyncExitStack, runtime: ScriptedRuntime, age: float, transport: Transport) -> Gateway:
    service = RunsService(runtime, grace=0)
    stack.push_async_callback(service.close)
    services = RunsServices(service)
    limits = GrpcLimits(connection_age=age, age_grace=60.0)
    grpc = GrpcFront(services, "127.0.0.1:0", limits=limits, transport=transport)
    http_limits = HttpLimits(connection_age=age, age_grace=60.0)
    http = HttpFront(JsonRpcMethods(services), "127.0.0.1:0", limits=http_limits)
    for front in (grpc, http):
        await front.start()
        stack.push_async_callback(front.stop, 0)
    gateway = Gateway(runtime, grpc.address, http.address)
    stack.push_async_callback(gateway.leave)
    return gateway


async def expected(client: AsyncRunsClient, run_id: str) -> list[object]:
    return [result.value for result in (await client.get(run_id, include_results=True)).results or ()]


async def updates_of(gateway: Gateway, client: AsyncRunsClient, note: Callable[[], None]) -> None:
    fold = Fold()
    async with aclosing(client.watch(gateway.run_id, include_results=True)) as updates:
        async for update in updates:
            fold.add(update)
            assert not update.restarted
            if update.reconnected:
                note()
    assert [result.value for result in fold.status().results or ()] == await expected(client, gateway.run_id)


async def many_of(gateway: Gateway, client: AsyncRunsClient, note: Callable[[], None]) -> None:
    fold = Fold()
    async with aclosing(client.watch_many([gateway.run_id], include_results=True)) as events:
        async for _, event in events:
            if isinstance(event, RunUpdate):
                fold.add(event)
                assert not event.restarted
                if event.reconnected:
                    note()
    assert [result.value for result in fold.status().results or ()] == await expected(client, gateway.run_id)


async def events_of(gateway: Gateway, session: aiohttp.ClientSession, note: Callable[[], None]) -> None:
    events: list[Event] = []
    last: str | None = None
    params = {"runId": gateway.run_id, "wait": True, "includeResults": True, "resultOrder": "byCompletion"}
    while True:
        async with following(session, gateway.http, params, last_event_id=last) as stream:
            async for event in stream:
                if event.id is None:
                    result = event.message["result"]
                    assert folded(events)["results"] == result["results"]
                    return
                events.append(event)
                last = event.id
        note()


async def blocking_wait(gateway: Gateway) -> None:
    def wait() -> list[object]:
        with RunsClient(gateway.grpc, retry_for=0) as client:
            run = client.wait(gateway.run_id, include_results=True, order=ResultOrder.BY_COMPLETION)
            return [result.value for result in run.results or ()]

    assert sorted(map(str, await asyncio.to_thread(wait))) == sorted(map(str, range(ITEMS)))


async def all_kinds(gateway: Gateway, stack: AsyncExitStack, *, grpc: int, http: int) -> None:
    """Begin streams of all kinds, without retries: an end in order is no failure."""
    client = await stack.enter_async_context(AsyncRunsClient(gateway.grpc, retry_for=0))
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None))
    )
    flow_id = await client.put_flow(str(FLOW.content))
    gateway.run_id = (await client.submit(flow_id, list(range(ITEMS)))).run_id
    for _ in range(grpc // 2):
        gateway.follow(lambda note: updates_of(gateway, client, note))
        gateway.follow(lambda note: many_of(gateway, client, note))
    for _ in range(http):
        gateway.follow(lambda note: events_of(gateway, session, note))


async def test_folds_are_right_over_the_ends_of_streams(transport: Transport) -> None:
    async with asyncio.timeout(100), AsyncExitStack() as stack:
        gateway = await serving(stack, ScriptedRuntime(), 0.1, transport)
        await all_kinds(gateway, stack, grpc=8, http=4)
        blocking = asyncio.create_task(blocking_wait(gateway))
        await gateway.drive(3)
        await blocking


async def watched(runtime: ScriptedRuntime, opened: int) -> None:
    """Return when so many watches have been opened. The runtime of tests tells nobody of them."""
    if runtime.opened < opened:
        await asyncio.sleep(0.01)
        await watched(runtime, opened)


async def test_a_relay_goes_on_when_streams_of_its_upstream_end() -> None:
    async with asyncio.timeout(100), AsyncExitStack() as stack:
        runtime = ScriptedRuntime()
        gateway = await serving(stack, runtime, 0.1, "grpcio")
        relay = RelayRuntime(f"grpc://{gateway.grpc}")
        stack.push_async_callback(relay.close)
        flow_id = await relay.put_blob(FLOW)
        run = (await relay.submit(SubmitParams(flow_id=flow_id, inputs=["1", "2", "3"]), "")).status

        async def watch() -> list[int]:
            async with aclosing(relay.watch(run.run_id)) as snapshots:
                return [snapshot.completions async for snapshot in snapshots]

        watching = asyncio.create_task(watch())
        # Each of these is watched anew by then: the stream before has ended.
        for index, opened in enumerate((2, 4, 6)):
            async with asyncio.timeout(60):
                await watched(runtime, opened)
            await runtime.succeed(index, "1", run_id=run.run_id)
        assert await watching == [0, 1, 2, 3]


async def follow_in_all_ways(stack: AsyncExitStack, serving: Serving, run: FollowedRun) -> EndingStreams:
    """A thousand streams over a few connections at a time, most of them bare: the client must be cheaper."""
    streams = EndingStreams()
    stack.push_async_callback(streams.leave)
    for _ in range(8):
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(serving.grpc, options=CHANNEL_OPTIONS))
        stub = runs_pb2_grpc.RunsServiceStub(channel)
        for _ in range(50):
            streams.follow("GetRun", partial(run.get_run, stub))
            streams.follow("WatchRuns", partial(run.watch_runs, stub))
    # With retries: a stream that begins on a machine with much to do may be cut before the gateway knows of it.
    client = await stack.enter_async_context(AsyncRunsClient(serving.grpc))
    for _ in range(25):
        streams.follow("watch", partial(run.watch, client))
        streams.follow("watch_many", partial(run.watch_many, client))
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None))
    )
    for _ in range(150):
        streams.follow("event stream", partial(run.event_stream, session, serving.http))
    return streams


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.timeout(300)
async def test_a_thousand_streams_with_an_age_of_two_seconds_for_a_minute(tmp_path: Path) -> None:
    """Each item ends when every stream has gone on once more. Every fold is right.

    In a minute, that is 27 times if nothing else is at work. On a machine with much to do it is less, and no fault.
    """
    component = HeldComponent()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(component.server.running())
        flags = ("--state", ":memory:", "--component", f"/test={url}", "--max-connection-age", "2s")
        serving = await stack.enter_async_context(CommandLine(tmp_path).serving(*flags))
        await components_available(serving.grpc, ["/test"])
        client = await stack.enter_async_context(AsyncRunsClient(serving.grpc))
        run_id = (await client.submit(await client.put_flow(HELD), list(range(HELD_ITEMS)))).run_id
        await component.executes(HELD_ITEMS)
        streams = await follow_in_all_ways(stack, serving, FollowedRun(run_id, HELD_ITEMS))
        minute = asyncio.get_running_loop().time() + 60
        try:
            async with asyncio.timeout(280):
                for times, item in enumerate(reversed(range(HELD_ITEMS))):
                    with suppress(TimeoutError):
                        async with asyncio.timeout_at(minute):
                            await streams.reach(times)
                    await streams.reach(min(times, LEAST))
                    component.release(item)
                await streams.ended()
        except TimeoutError:
            pytest.fail(streams.late())
