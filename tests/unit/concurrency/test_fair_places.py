import asyncio

from gateway.concurrency.fair_places import FairPlaces


async def test_parties_with_places_leave_some_to_parties_without() -> None:
    places = FairPlaces(8)
    first, second = places.party(), places.party()
    assert [first.take_if_free() for _ in range(8)] == [True] * 7 + [False]
    assert second.take_if_free()
    assert places.taken == 8


async def test_parties_that_wait_get_places_in_rotation() -> None:
    places = FairPlaces(1)
    order: list[str] = []

    async def take(party: str, number: int) -> None:
        await parties[party].take()
        order.append(f"{party}{number}")
        parties[party].give_back()

    parties = {name: places.party() for name in "abc"}
    parties["a"].count(1)
    tasks = [asyncio.create_task(take(party, number)) for party in "abc" for number in range(2)]
    await asyncio.sleep(0)
    parties["a"].give_back()
    await asyncio.gather(*tasks)
    assert sorted(order[:3]) == ["a0", "b0", "c0"]
    assert places.taken == 0


async def test_tasks_that_come_back_are_first() -> None:
    places = FairPlaces(1)
    old, new = places.party(), places.party()
    old.count(1)
    begins = asyncio.create_task(new.take())
    await asyncio.sleep(0)
    returns = asyncio.create_task(old.take_back())
    await asyncio.sleep(0)
    old.give_back()
    await returns
    assert not begins.done()
    old.give_back()
    await begins


async def test_a_task_that_has_left_takes_no_place() -> None:
    places = FairPlaces(1)
    party = places.party()
    party.count(1)
    left, stays = asyncio.create_task(party.take()), asyncio.create_task(party.take())
    await asyncio.sleep(0)
    left.cancel()
    party.give_back()
    await stays
    assert places.taken == 1
