"""Event streams of component servers: read a little in each turn, and no further than their requests are answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.components import Callback, Components
from gateway.components.limits import DEFAULT_LIMITS
from gateway.concurrency.fair_turns import FairTurns
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.model import ObservabilityContext
from gateway.peers.http.sse import EventReader
from tests.support.component_server import Call, ComponentServer, Script

REQUEST = b'data: {"jsonrpc":"2.0","id":1,"method":"runs/get","params":{}}\n\n'
NOTIFICATION = b'data: {"jsonrpc":"2.0","method":"progress"}\n\n'
LINES = {"requests": REQUEST, "notifications": NOTIFICATION, "comments": b": x\n", "blank lines": b"\n"}


@asynccontextmanager
async def executing(script: Script, callback: Callback, account: MemoryAccount) -> AsyncIterator[Components]:
    async with ComponentServer(script).running() as url:
        components = Components({"/t": url}, share=account.share())
        await components.start(callback, None)
        try:
            yield components
        finally:
            await components.close()


def execution(components: Components) -> "asyncio.Task[str]":
    context = ObservabilityContext()
    return asyncio.create_task(components.execute("/t/double", "1", attempt=1, observability=context, scope="t"))


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_step_of_reading_is_a_bounded_number_of_lines(line: bytes) -> None:
    lines = 10_000
    steps = sum(1 for _ in EventReader(DEFAULT_LIMITS.message_size).feed(line * lines))
    assert steps >= lines // 100


@pytest.mark.parametrize("line", [REQUEST, NOTIFICATION], ids=["requests", "notifications"])
async def test_a_stream_is_read_no_further_than_its_requests_are_served(line: bytes) -> None:
    served = cancelled = 0
    full = asyncio.Event()

    async def callback(text: bytes, scope: str) -> bytes | None:
        nonlocal served, cancelled
        served += 1
        if served == DEFAULT_LIMITS.pending:
            full.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled += 1
        return None

    async def script(call: Call) -> None:
        await call.stream()
        while True:
            await call.chunk(line * 1_000)

    account = MemoryAccount()
    async with executing(script, callback, account) as components:
        running = execution(components)
        await full.wait()
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert served == DEFAULT_LIMITS.pending
        assert account.held > served * 4_096
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert (cancelled, account.held) == (served, 0)


async def test_answers_that_are_not_taken_keep_their_places() -> None:
    served = posts = 0
    stuck = asyncio.Event()

    async def callback(text: bytes, scope: str) -> bytes | None:
        nonlocal served
        served += 1
        return b'{"id":1,"result":"%b"}' % (b"x" * 10_000)

    async def script(call: Call) -> None:
        nonlocal posts
        if call.message.get("method") == "components/execute":
            await call.stream()
            await call.chunk(REQUEST * 1_000)
        else:
            posts += 1
            if posts == DEFAULT_LIMITS.deliveries:
                stuck.set()
        await call.closed()

    account = MemoryAccount()
    async with executing(script, callback, account) as components:
        running = execution(components)
        await stuck.wait()
        while served < DEFAULT_LIMITS.pending:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert (served, posts) == (DEFAULT_LIMITS.pending, DEFAULT_LIMITS.deliveries)
        assert account.held >= served * 10_000
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert account.held == 0


async def test_streams_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is a counter here: each look at it is a tenth of a millisecond, so a turn has room for five events."""
    ticks = turns = seen = most = 0
    done = asyncio.Event()

    def clock() -> float:
        nonlocal ticks
        ticks += 1
        return ticks / 10_000

    monkeypatch.setattr("gateway.components.requests.FairTurns", lambda: FairTurns(clock=clock, worked=lambda: 0.0))

    async def callback(text: bytes, scope: str) -> bytes | None:
        nonlocal seen
        seen += 1
        return None

    async def script(call: Call) -> None:
        await call.stream()
        await call.chunk(NOTIFICATION * 500)
        await done.wait()
        await call.output(1)

    async with executing(script, callback, MemoryAccount()) as components:
        running = [execution(components) for _ in range(5)]
        while seen < 5 * 500:
            before = seen
            await asyncio.sleep(0)
            turns += 1
            most = max(most, seen - before)
        done.set()
        assert await asyncio.gather(*running) == ["1"] * 5
    assert most <= 16


async def test_many_requests_that_wait_are_all_answered() -> None:
    number = 2 * DEFAULT_LIMITS.pending
    answered: set[int] = set()
    all_answered = asyncio.Event()

    async def callback(text: bytes, scope: str) -> bytes | None:
        for _ in range(10):
            await asyncio.sleep(0)
        return json.dumps({"jsonrpc": "2.0", "id": json.loads(text)["id"], "result": 1}).encode()

    async def script(call: Call) -> None:
        if call.message.get("method") == "components/execute":
            await call.stream()
            for n in range(number):
                await call.event({"jsonrpc": "2.0", "id": n, "method": "runs/submit", "params": {}})
            await all_answered.wait()
            await call.output("all")
            return
        answered.add(call.message["id"])
        await call.accept()
        if len(answered) == number:
            all_answered.set()

    async with executing(script, callback, MemoryAccount()) as components:
        assert await execution(components) == '"all"'
