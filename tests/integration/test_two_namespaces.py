"""Two namespaces act at random over each runtime, and neither learns anything of the other.

What one is told while the other acts is exactly what it is told alone: its runs, lists, counts, sets, blobs and errors.
So it is with two tokens for labels in one namespace, but for blobs, which they share.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from gateway.core.caller import CallerView
from gateway.core.model import GetParams
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.runtime import Runtime
from gateway.core.socket_directory import RUNTIME_SOCKET
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.runtimes.relay.linked import LinkedRuntime
from gateway.runtimes.relay.runtime import RelayRuntime
from gateway.runtimes.stepflow.runtime import StepflowRuntime
from gateway.storage.idempotency import Keys
from tests.support.document_server import DocumentServer
from tests.support.embedded import Embedded, opened
from tests.support.engine import RELEASES, Engine
from tests.support.http_upstream import HttpUpstream
from tests.support.namespace_actor import BLOBS, Actor, Board, prepare
from tests.support.upstream import linked_upstream

STEPS: Final = 40
MORE: Final = pytest.mark.slow
_NUMBERS: Final = count(1)

Open = Callable[[AsyncExitStack, Path], Awaitable[Runtime]]


async def embedded(stack: AsyncExitStack, state: Path | None) -> Embedded:
    embedded = await stack.enter_async_context(opened(state))
    await embedded.start()
    return embedded


async def in_memory(stack: AsyncExitStack, home: Path) -> Runtime:
    return (await embedded(stack, None)).runtime


async def in_a_file(stack: AsyncExitStack, home: Path) -> Runtime:
    return (await embedded(stack, home / "state.db")).runtime


async def relay(stack: AsyncExitStack, home: Path) -> Runtime:
    below = await embedded(stack, None)
    upstream, _ = await stack.enter_async_context(linked_upstream(below.runtime, home))
    runtime = RelayRuntime(upstream.address)
    stack.push_async_callback(runtime.close)
    assert await runtime.connect(10)
    return runtime


async def worker(stack: AsyncExitStack, home: Path) -> Runtime:
    below = await embedded(stack, None)
    await stack.enter_async_context(linked_upstream(below.runtime, home))
    runtime = LinkedRuntime(f"unix:{home / RUNTIME_SOCKET}")
    stack.push_async_callback(runtime.close)
    assert await runtime.connect(10)
    return runtime


async def over_jsonrpc(stack: AsyncExitStack, home: Path, server: HttpUpstream | DocumentServer) -> Runtime:
    await server.start()
    stack.push_async_callback(server.stop)
    keys = await Keys.open(str(home / "keys.db"))
    stack.push_async_callback(keys.close)
    runtime = JsonRpcRuntime(f"jsonrpc+{server.url}", keys)
    stack.push_async_callback(runtime.close)
    assert await runtime.connect(10)
    return runtime


async def jsonrpc(stack: AsyncExitStack, home: Path) -> Runtime:
    return await over_jsonrpc(stack, home, HttpUpstream((await embedded(stack, None)).runtime))


async def document(stack: AsyncExitStack, home: Path) -> Runtime:
    return await over_jsonrpc(stack, home, DocumentServer((await embedded(stack, None)).runtime))


def stepflow(release: str) -> Open:
    async def over_engine(stack: AsyncExitStack, home: Path) -> Runtime:
        engine = Engine(release, home)
        await engine.start()
        stack.push_async_callback(engine.stop)
        keys = await Keys.open(str(home / "keys.db"))
        stack.push_async_callback(keys.close)
        runtime = await StepflowRuntime.open(engine.runtime, keys)
        stack.push_async_callback(runtime.close)
        return runtime

    return over_engine


RUNTIMES: Final[dict[str, Open]] = {
    "embedded in memory": in_memory,
    "embedded in a file": in_a_file,
    "relay": relay,
    "worker": worker,
    "jsonrpc": jsonrpc,
    "document": document,
}
KEEP_LABELS: Final = [name for name in RUNTIMES if name != "document"]
ENGINES: Final = [RELEASES[0], *(pytest.param(each, marks=MORE) for each in RELEASES[1:])]


async def services_over(stack: AsyncExitStack, runtime: Runtime) -> RunsServices:
    services = RunsServices(RunsService(runtime, grace=0))
    stack.push_async_callback(services.close)
    return services


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=RUNTIMES)
async def services(request: pytest.FixtureRequest, stack: AsyncExitStack, home: Path) -> RunsServices:
    return await services_over(stack, await RUNTIMES[request.param](stack, home))


def new_namespace() -> str:
    return f"namespace-{next(_NUMBERS):06}"


async def told_to(
    services: RunsServices, seed: int, *, others: int, namespace: str | None = None, steps: int = STEPS
) -> list[object]:
    """What somebody is told who does what the seed says, while another does so much more in another namespace."""
    other_board, namespace = Board(), namespace or new_namespace()
    busy = new_namespace()
    other = Actor(services.of(CallerView(busy)), busy, seed + 1_000, Board())
    if others:
        other_board = other.own
    actor = Actor(services.of(CallerView(namespace)), namespace, seed, other_board)

    async def act_otherwise() -> None:
        for _ in range(others):
            await other.act()

    for _ in range(steps):
        await asyncio.gather(actor.act(), act_otherwise())
    return actor.told


async def compare(services: RunsServices, seeds: range, *, steps: int = STEPS) -> None:
    await prepare(services.of(CallerView(new_namespace())))
    for seed in seeds:
        alone = await told_to(services, seed, others=0, steps=steps)
        assert "UNKNOWN" not in str(alone)
        assert await told_to(services, seed, others=2, steps=steps) == alone


async def test_two_namespaces_do_not_learn_of_each_other(services: RunsServices) -> None:
    await compare(services, range(3))


@MORE
@pytest.mark.no_cover
async def test_two_namespaces_do_not_learn_of_each_other_for_long(services: RunsServices) -> None:
    await compare(services, range(100, 120), steps=100)


async def told_to_labels(services: RunsServices, seed: int, *, others: int, steps: int = STEPS) -> list[object]:
    """What the holder of a token for labels is told while that of another one, of the namespace, does so much more."""
    namespace = new_namespace()
    for blob in BLOBS:
        # Blobs are those of the namespace.
        await services.of(CallerView(namespace)).put_blob(blob)
    views = [CallerView(namespace, labels=(("view", name),)) for name in ("one", "other")]
    other = Actor(services.of(views[1]), namespace, seed + 1_000, Board())
    actor = Actor(services.of(views[0]), namespace, seed, other.own if others else Board())
    for _ in range(steps):
        await asyncio.gather(actor.act(), *(other.act() for _ in range(others)))
    return actor.told


async def compare_labels(services: RunsServices, seeds: range) -> None:
    await prepare(services.of(CallerView(new_namespace())))
    for seed in seeds:
        alone = await told_to_labels(services, seed, others=0)
        assert "UNKNOWN" not in str(alone)
        assert await told_to_labels(services, seed, others=1) == alone


@pytest.mark.parametrize("runtime", KEEP_LABELS)
async def test_two_views_of_labels_do_not_learn_of_each_other(stack: AsyncExitStack, runtime: str, home: Path) -> None:
    """Not by runs, parents, keys, lists or tokens, though they are in one namespace."""
    await compare_labels(await services_over(stack, await RUNTIMES[runtime](stack, home)), range(3))


@pytest.mark.parametrize("release", ENGINES)
async def test_two_namespaces_over_an_engine(stack: AsyncExitStack, release: str, home: Path) -> None:
    services = await services_over(stack, await stepflow(release)(stack, home))
    await compare(services, range(2))
    await compare_labels(services, range(1))


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_the_default_namespace_does_not_learn_of_others(stack: AsyncExitStack, runtime: str, home: Path) -> None:
    """Over a server that knows no namespaces, it also has what was put without this gateway."""
    told = []
    for others in (0, 2):
        (home / str(others)).mkdir()
        services = await services_over(stack, await RUNTIMES[runtime](stack, home / str(others)))
        await prepare(services.of(CallerView(new_namespace())))
        told.append(await told_to(services, 7, others=others, namespace=DEFAULT_NAMESPACE))
    assert told[0] == told[1]


async def test_who_sees_all_sees_both(services: RunsServices) -> None:
    await prepare(services.of(CallerView(new_namespace())))
    for seed in (1, 2):
        namespace, other = new_namespace(), new_namespace()
        actors = [Actor(services.of(CallerView(name)), name, seed, Board()) for name in (namespace, other)]
        for actor in actors:
            await actor.put()
            for _ in range(10):
                await actor.act()
            run_id = actor.own.run_id
            if f"'{run_id}'" in str(actor._names):
                assert (await services.of(CallerView()).get(GetParams(run_id=run_id))).namespace == actor._namespace
