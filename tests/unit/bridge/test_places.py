"""Places for tasks: taken in order, given back once."""

import asyncio

from gateway.bridge.places import Places


async def test_places_are_taken_in_the_order_of_arrival() -> None:
    places, order = Places(1), []

    async def task(name: str) -> None:
        await places.take(name)
        order.append(name)
        await asyncio.sleep(0)
        places.give_back(name)

    await asyncio.gather(*(task(name) for name in "abc"))
    assert order == ["a", "b", "c"]
    assert places.waiting == 0


async def test_a_place_is_given_back_once() -> None:
    places = Places(1)
    await places.take("a")
    places.give_back("a")
    places.give_back("a")
    await places.take("b")
    late = asyncio.create_task(places.take("c"))
    await asyncio.sleep(0)
    assert places.waiting == 1
    places.give_back("b")
    await late


async def test_one_that_leaves_the_line_leaves_its_turn_to_the_next() -> None:
    places = Places(1)
    await places.take("a")
    leaving, staying = [asyncio.create_task(places.take(name)) for name in "bc"]
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    places.give_back("a")
    await staying


async def test_one_that_leaves_when_its_turn_has_come_can_give_its_place_back() -> None:
    places = Places(1)
    await places.take("a")
    leaving = asyncio.create_task(places.take("b"))
    await asyncio.sleep(0)
    places.give_back("a")
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    places.give_back("b")
    await places.take("c")
