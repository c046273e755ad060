import asyncio

from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.room import UNCOUNTED, Room, RoomHolder


def holders(number: int, limit: int) -> tuple[Room, list[RoomHolder]]:
    room = Room(MemoryAccount().share(), limit)
    party = room.party()
    return room, [RoomHolder(party) for _ in range(number)]


async def test_small_values_are_counted_when_there_are_many() -> None:
    room, (holder,) = holders(1, 1 << 20)
    holder.hold(UNCOUNTED)
    assert room.share.held == 0
    holder.hold(1)
    assert room.share.held == UNCOUNTED + 1
    holder.hold(-1)
    assert room.share.held == UNCOUNTED + 1
    holder.hold(-UNCOUNTED)
    assert room.share.held == 0


async def test_what_is_made_waits_until_others_have_given_back_enough() -> None:
    _, (first, second) = holders(2, 10_000)
    first.hold(8_000)
    assert not second.has_room()
    waiting = asyncio.create_task(second.wait_for_room())
    await asyncio.sleep(0)
    first.hold(-4_000)
    await waiting
    assert second.has_room()


async def test_one_goes_on_when_all_that_hold_something_wait() -> None:
    _, (first, second) = holders(2, 10_000)
    for holder in (first, second):
        holder.hold(8_000)
    tasks = [asyncio.create_task(holder.wait_for_room()) for holder in (first, second)]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(others)) == (1, 1)
    first.hold(-8_000)
    second.hold(-8_000)
    await asyncio.wait(tasks)
