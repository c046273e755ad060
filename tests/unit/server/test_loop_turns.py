"""The length of turns of the event loop."""

import asyncio
import time

from gateway.server.loop_turns import measured_turns
from gateway.telemetry.gateway_metrics import EVENT_LOOP_TURN


async def test_a_turn_with_long_work_is_seen_as_long() -> None:
    turns = EVENT_LOOP_TURN.labels()
    number, seconds = sum(turns.counts), turns.sum
    with measured_turns():
        asyncio.get_running_loop().call_soon(time.sleep, 0.02)
        for _ in range(5):
            await asyncio.sleep(0)
    assert sum(turns.counts) == number + 1
    assert turns.sum - seconds >= 0.02


async def test_nothing_is_measured_after_the_end() -> None:
    turns = EVENT_LOOP_TURN.labels()
    number = sum(turns.counts)
    with measured_turns():
        pass
    for _ in range(5):
        await asyncio.sleep(0)
    assert sum(turns.counts) == number
