"""Many calls, a few in each turn of the event loop."""

import asyncio
from functools import partial

import pytest

from gateway.concurrency.batches import BATCH, call_in_batches


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 5 * BATCH])
async def test_calls_are_made_in_order_a_batch_in_each_turn(count: int) -> None:
    made: list[int] = []
    ended = asyncio.Event()
    call_in_batches((partial(made.append, number) for number in range(count)), ended.set)
    turns = [len(made)]
    while not ended.is_set():
        await asyncio.sleep(0)
        turns.append(len(made))
    assert made == list(range(count))
    assert max(later - earlier for earlier, later in zip([0, *turns], turns, strict=False)) <= BATCH
