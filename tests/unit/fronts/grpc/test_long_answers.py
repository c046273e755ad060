"""Long answers: they take turns, and those that are not read are bounded for each client and for all."""

import asyncio
from contextlib import suppress

import pytest

from gateway.core.errors import Overloaded
from gateway.fronts.grpc import long_answers
from gateway.fronts.grpc.long_answers import LongAnswers

LIMIT = 30.0
MIB = 1 << 20
ROOM = 256 * MIB
"""The least that clients may leave unread."""


async def settled() -> None:
    """Let every task go on until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_answer_waits_until_others_have_been_read() -> None:
    answers = LongAnswers(ROOM)
    for peer in "ab":
        await answers.take(peer, ROOM // 4)
    waiting = asyncio.create_task(answers.take("c", ROOM // 2))
    await settled()
    assert not waiting.done()
    answers.give_back("a", ROOM // 4)
    answers.give_back("b", ROOM // 4)
    async with asyncio.timeout(LIMIT):
        await waiting


async def test_no_client_has_more_than_it_leaves_to_others() -> None:
    answers = LongAnswers(ROOM)
    await answers.take("greedy", ROOM // 2)
    more = asyncio.create_task(answers.take("greedy", MIB))
    await answers.take("other", ROOM // 8)
    await settled()
    assert not more.done()
    answers.give_back("greedy", ROOM // 2)
    async with asyncio.timeout(LIMIT):
        await more


async def test_a_client_without_a_name_stands_for_many() -> None:
    answers = LongAnswers(ROOM)
    for _ in range(4):
        await answers.take("", ROOM // 4)
    more = asyncio.create_task(answers.take("", 1))
    await settled()
    assert not more.done()
    answers.give_back("", ROOM // 4)
    async with asyncio.timeout(LIMIT):
        await more


async def test_the_first_answer_has_room_in_any_case() -> None:
    answers = LongAnswers(MIB)
    await answers.take("a", 2 * ROOM)
    answers.give_back("a", 2 * ROOM)
    await answers.take("b", 2 * ROOM)


@pytest.mark.parametrize(("memory", "room"), [(MIB, ROOM), (4 << 30, 512 * MIB), (1 << 40, 1 << 30)])
async def test_the_room_is_an_eighth_of_the_memory_within_bounds(memory: int, room: int) -> None:
    answers = LongAnswers(memory)
    await answers.take("", room - MIB)
    await answers.take("", MIB)
    more = asyncio.create_task(answers.take("", 1))
    await settled()
    assert not more.done()
    more.cancel()
    await asyncio.gather(more, return_exceptions=True)


async def test_an_answer_that_waits_for_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_answers, "WAIT_SECONDS", 0.0)
    answers = LongAnswers(ROOM)
    await answers.take("a", ROOM)
    with pytest.raises(Overloaded) as refused:
        await answers.take("b", 1)
    assert refused.value.retry_after == 1.0
    answers.give_back("a", ROOM)
    await answers.take("b", ROOM)


@pytest.mark.parametrize("served", [False, True])
async def test_a_call_that_ends_while_it_waits_leaves_nothing(served: bool) -> None:
    answers = LongAnswers(ROOM)
    await answers.take("a", ROOM)
    waiting = asyncio.create_task(answers.take("b", ROOM))
    await settled()
    if served:
        answers.give_back("a", ROOM)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    if not served:
        answers.give_back("a", ROOM)
    await answers.take("c", ROOM)


async def test_answers_take_turns_with_everybody_else() -> None:
    answers = LongAnswers(ROOM)
    order: list[str] = []

    async def answer(name: str) -> None:
        await answers.turn()
        order.append(name)

    async def other() -> None:
        while len(order) < 5:
            order.append("other")
            await asyncio.sleep(long_answers.PAUSE / 4)

    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        for name in "ab":
            group.create_task(answer(name))
        group.create_task(other())
    assert order.index("b") - order.index("a") > 1
