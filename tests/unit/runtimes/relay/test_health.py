"""The health of the upstream over a real connection: whether runs are accepted, and why not."""

import asyncio
from pathlib import Path

from gateway.runtimes.relay.runtime import RelayRuntime
from tests.support.scripted_runtime import ScriptedRuntime
from tests.support.tasks import LIMIT
from tests.support.upstream import Upstream


async def test_the_reason_is_that_of_the_upstream_also_when_another_follows(tmp_path: Path) -> None:
    scripted = ScriptedRuntime()
    upstream = Upstream(scripted, tmp_path / "upstream.sock")
    await upstream.start()
    relay = RelayRuntime(upstream.address)
    told: asyncio.Queue[str | None] = asyncio.Queue()
    relay.readiness.on_change(lambda: told.put_nowait(relay.readiness.obstacle))
    try:
        await relay.follow_readiness()
        async with asyncio.timeout(LIMIT):
            for reason in ("the state cannot be written: disk is full", "the state is lost: ü.db was deleted", None):
                scripted.readiness.report(reason)
                assert await told.get() == reason
    finally:
        await relay.close()
        await upstream.stop()
