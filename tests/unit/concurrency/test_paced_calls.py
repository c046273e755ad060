import asyncio
from functools import partial

from gateway.concurrency.batches import BATCH
from gateway.concurrency.paced_calls import PacedCalls


async def test_the_first_calls_are_made_at_once() -> None:
    made: list[int] = []
    calls = PacedCalls()
    for number in range(BATCH + 1):
        calls(partial(made.append, number))
    assert made == list(range(BATCH))
    await asyncio.sleep(0)
    assert made == list(range(BATCH + 1))


async def test_a_turn_makes_a_bounded_number_of_calls_in_order() -> None:
    made: list[int] = []
    calls = PacedCalls()
    for number in range(3 * BATCH):
        calls(partial(made.append, number))
    for turn in range(4):
        before = len(made)
        calls(partial(made.append, 3 * BATCH + turn))
        await asyncio.sleep(0)
        assert len(made) - before <= BATCH
    assert made == list(range(3 * BATCH + 4))


async def test_calls_may_ask_for_calls() -> None:
    made: list[int] = []
    calls = PacedCalls()

    def again() -> None:
        made.append(1)
        if len(made) < 2 * BATCH:
            calls(again)

    calls(again)
    assert len(made) <= BATCH
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(made) == 2 * BATCH


async def test_a_new_turn_makes_calls_at_once_again() -> None:
    made: list[int] = []
    calls = PacedCalls()
    for _ in range(3):
        for number in range(BATCH):
            calls(partial(made.append, number))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(made) == 3 * BATCH


async def test_many_calls_at_once_are_made_in_this_turn_or_in_later_ones() -> None:
    made: list[int] = []
    calls = PacedCalls()
    calls.all([partial(made.append, number) for number in range(BATCH - 1)])
    assert made == list(range(BATCH - 1))
    calls.all([partial(made.append, BATCH - 1 + number) for number in range(2 * BATCH)])
    assert len(made) == BATCH - 1, "not some of them now and the rest later"
    calls(partial(made.append, 3 * BATCH - 1))
    for _ in range(3):
        before = len(made)
        await asyncio.sleep(0)
        assert len(made) - before <= BATCH
    assert made == list(range(3 * BATCH))
