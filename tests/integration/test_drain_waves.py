"""SIGTERM with `--drain-seconds`: streams end a few at a time, in an order in which nothing is lost."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from runs.v1 import runs_pb2, runs_pb2_grpc
from tests.support.command_line import CommandLine, finish
from tests.support.event_stream import following
from tests.support.grpc_calls import failure

STREAMS = 10
MODES = pytest.mark.parametrize(
    "options", [(), ("--transport", "native"), ("--workers", "2")], ids=["grpcio", "native", "workers"]
)


def watching(channel: grpc.aio.Channel) -> Any:
    """A stream of a set, which would never end."""
    stream: Any = runs_pb2_grpc.RunsServiceStub(channel).WatchRuns()
    return stream


@MODES
async def test_streams_end_a_few_at_a_time(tmp_path: Path, options: tuple[str, ...]) -> None:
    async with (
        asyncio.timeout(100),
        CommandLine(tmp_path).serving("--state", ":memory:", "--drain-seconds", "6", *options) as serving,
        AsyncExitStack() as stack,
    ):
        streams = []
        for _ in range(STREAMS):
            # A connection of its own for each: workers share them out.
            options_ = [("grpc.use_local_subchannel_pool", 1)]
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(serving.grpc, options=options_))
            stream = watching(channel)
            await stream.write(runs_pb2.WatchRunsRequest(add_set=runs_pb2.WatchSet(name="all")))
            assert (await stream.read()).HasField("caught_up")
            streams.append(stream)
        serving.process.send_signal(signal.SIGTERM)
        ends = [asyncio.create_task(failure(stream)) for stream in streams]
        _, others = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        assert others, "all have ended at once"
        await asyncio.wait(others)
        for end in ends:
            code, _, details = end.result()
            assert code is grpc.StatusCode.UNAVAILABLE
            assert details["ErrorInfo"].reason == "GO_AWAY"
            assert details["RetryInfo"].retry_delay.ToNanoseconds() == 0
        assert (await finish(serving.process)).code == 0


async def test_event_streams_end_in_order_and_say_when_to_come_back(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(100),
        CommandLine(tmp_path).serving("--state", ":memory:", "--drain-seconds", "1") as serving,
        aiohttp.ClientSession() as session,
        AsyncExitStack() as stack,
    ):
        streams = [
            await stack.enter_async_context(following(session, serving.http, {}, method="runs/watch"))
            for _ in range(STREAMS)
        ]
        for stream in streams:
            assert (await anext(stream)).message["params"]["event"] == "caughtUp"
        serving.process.send_signal(signal.SIGTERM)
        for stream in streams:
            assert [event async for event in stream] == []
        assert (await finish(serving.process)).code == 0


async def test_without_streams_nothing_is_waited_for(tmp_path: Path) -> None:
    async with CommandLine(tmp_path).serving("--state", ":memory:", "--drain-seconds", "60") as serving:
        serving.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(50):
            assert (await finish(serving.process)).code == 0
