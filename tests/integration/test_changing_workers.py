"""Followers that change the worker after every second message: no state is older, nothing is lost or comes twice.

A worker hears of a change a moment later than another one. A token names the state that its client has seen.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from itertools import product
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.core.model import Blob, BlobType, GetParams, ResultOrder, SubmitParams
from tests.support.command_line import CommandLine, Serving
from tests.support.component_server import Call, ComponentServer
from tests.support.updates import Follower, GrpcFollower, JsonRpcFollower, Update
from tests.support.workers import accepted_at, sockets_of, workers_of

FLOW = {"steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
WORKERS = 3
ITEMS = 150
FOLLOWERS = 40
FEW_CUTS = 200
MANY_CUTS = 20_000
TRANSPORTS = ("grpcio", "native")
MODES = list(product(TRANSPORTS, (False, True)))
FEW_MODES = [("grpcio", False), ("native", True)]


@asynccontextmanager
async def serving(home: Path, transport: str) -> AsyncIterator[Serving]:
    """A gateway of three workers, whose component answers at once."""

    async def answer(call: Call) -> None:
        await call.result({"output": call.message["params"]["input"]})

    server = ComponentServer(answer)
    flags = ("--workers", str(WORKERS), "--transport", transport, "--state", ":memory:")
    async with server.running() as url:
        commands = CommandLine(home)
        environment = {"TMPDIR": str(home)}
        async with commands.serving(*flags, "--component", f"/test={url}", env=environment) as serving:
            yield serving


@asynccontextmanager
async def client_of_each_worker(serving: Serving) -> AsyncIterator[list[Follower]]:
    """Clients, each connected to another worker."""
    found: dict[int, Follower] = {}
    async with AsyncExitStack() as stack:
        while len(found) < WORKERS:
            before = accepted_at(serving.grpc)
            client = GrpcFollower(serving.grpc)
            stack.push_async_callback(client.close)
            await client.put_blob(Blob(json.dumps(FLOW), BlobType.FLOW))
            new = accepted_at(serving.grpc) - before
            (worker,) = (worker for worker in workers_of(serving) if sockets_of(worker) & new)
            found[worker] = client
        yield list(found.values())


@asynccontextmanager
async def client_of_any_worker(serving: Serving) -> AsyncIterator[list[Follower]]:
    """A client of event streams. A stream that it leaves ends its connection, and the next one is with any worker."""
    client = JsonRpcFollower(serving.http.removeprefix("http://"))
    try:
        yield [client]
    finally:
        await client.close()


class Cuts:
    """How many streams are still to be cut."""

    def __init__(self, number: int) -> None:
        self.left = number


async def followed(clients: Iterator[Follower], params: GetParams, cuts: Cuts) -> list[Update]:
    """All updates of a run, read from streams that are cut after every second one."""
    updates: list[Update] = []
    while not (updates and updates[-1].status.status.terminal):
        token = updates[-1].token if updates else b""
        stream: AsyncGenerator[Update, None] = next(clients).updates(replace(params, resume_token=token))
        async with aclosing(stream):
            for _ in range(2):
                if (update := await anext(stream, None)) is None:
                    break
                updates.append(update)
        cuts.left -= 1
    if params.include_results:
        # The end has come; results that follow it may be left.
        stream = next(clients).updates(replace(params, resume_token=updates[-1].token))
        async with aclosing(stream):
            updates += [update async for update in stream]
    return updates


def check(updates: list[Update], order: ResultOrder, *, include_results: bool) -> None:
    assert not any(update.restarted for update in updates)
    for before, after in itertools.pairwise(updates):
        then, now = before.status.items, after.status.items
        assert after.revision >= before.revision
        assert after.revision > before.revision or now == then
        assert now.pending <= then.pending
        assert now.success >= then.success
        assert (after.prefix, after.completions) >= (before.prefix, before.completions)
        assert after.completions >= before.completions
    assert updates[-1].status.items.success == ITEMS
    if include_results:
        indexes = [result.item_index for update in updates for result in update.status.results or []]
        assert sorted(indexes) == list(range(ITEMS))
        assert indexes == sorted(indexes) or order is ResultOrder.BY_COMPLETION


async def cut(clients: list[Follower], number: int, *, include_results: bool) -> None:
    """Follow runs, one after the other, until so many streams have been cut."""
    cuts = Cuts(number)
    flow_id = await clients[0].put_blob(Blob(json.dumps(FLOW), BlobType.FLOW))
    submit = SubmitParams(flow_id=flow_id, inputs=[str(item) for item in range(ITEMS)], max_concurrency=2)
    orders = itertools.cycle(ResultOrder)
    while cuts.left > 0:
        run = await clients[0].submit(submit)
        order = next(orders)
        params = GetParams(run_id=run.run_id, wait=True, include_results=include_results, result_order=order)
        rotations = [itertools.islice(itertools.cycle(clients), start, None) for start in range(FOLLOWERS)]
        for updates in await asyncio.gather(*(followed(rotation, params, cuts) for rotation in rotations)):
            check(updates, order, include_results=include_results)


@pytest.mark.parametrize(("transport", "include_results"), FEW_MODES)
async def test_followers_that_change_the_worker_see_no_older_state(
    transport: str, home: Path, *, include_results: bool
) -> None:
    async with serving(home, transport) as gateway, client_of_each_worker(gateway) as clients:
        await cut(clients, FEW_CUTS, include_results=include_results)


@pytest.mark.parametrize("include_results", [False, True])
async def test_event_streams_that_change_the_worker_show_no_older_state(home: Path, *, include_results: bool) -> None:
    async with serving(home, "grpcio") as gateway, client_of_any_worker(gateway) as clients:
        await cut(clients, FEW_CUTS, include_results=include_results)


@pytest.mark.slow
@pytest.mark.parametrize(("transport", "include_results"), MODES)
async def test_twenty_thousand_changes_of_the_worker(transport: str, home: Path, *, include_results: bool) -> None:
    async with serving(home, transport) as gateway, client_of_each_worker(gateway) as clients:
        await cut(clients, MANY_CUTS // len(MODES), include_results=include_results)
