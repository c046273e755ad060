"""Handing things from a thread to the event loop."""

import asyncio
import os
import threading

from gateway.concurrency.handover import Handover

LIMIT = 30.0
MANY = 20_000


async def test_all_items_come_in_their_order_whenever_they_are_put() -> None:
    taken: list[int] = []
    all_taken = asyncio.Event()

    def take(item: int) -> None:
        taken.append(item)
        if item == MANY - 1:
            all_taken.set()

    handover = Handover(take)

    def put_all() -> None:
        for item in range(MANY):
            handover.put(item)

    thread = threading.Thread(target=put_all)
    thread.start()
    async with asyncio.timeout(LIMIT):
        await all_taken.wait()
    await asyncio.to_thread(thread.join)
    handover.close()
    assert taken == list(range(MANY))


async def test_an_idle_event_loop_takes_one_item_after_the_other() -> None:
    """Each is put when the one before has been taken: none of them may be left until something else happens."""
    taken: asyncio.Queue[int] = asyncio.Queue()
    handover = Handover(taken.put_nowait)
    async with asyncio.timeout(LIMIT):
        for item in range(100):
            await asyncio.to_thread(handover.put, item)
            assert await taken.get() == item
    handover.close()


async def test_an_item_that_is_put_while_one_is_taken_comes_as_well() -> None:
    taken: list[str] = []
    done = asyncio.Event()

    def take(item: str) -> None:
        taken.append(item)
        if item == "first":
            thread = threading.Thread(target=handover.put, args=("second",))
            thread.start()
            thread.join()
        else:
            done.set()

    handover = Handover(take)
    handover.put("first")
    async with asyncio.timeout(LIMIT):
        await done.wait()
    handover.close()
    assert taken == ["first", "second"]


async def test_what_fails_with_one_item_leaves_the_next_ones() -> None:
    taken: list[int] = []
    reported: list[object] = []
    done = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def take(item: int) -> None:
        if item == 0:
            raise ValueError("this one fails")
        taken.append(item)
        done.set()

    handover = Handover(take)
    handover.put(0)
    handover.put(1)
    async with asyncio.timeout(LIMIT):
        await done.wait()
    handover.close()
    assert taken == [1]
    assert [str(error) for error in reported] == ["this one fails"]


async def test_it_leaves_no_descriptors() -> None:
    before = len(os.listdir("/proc/self/fd"))
    Handover(print).close()
    assert len(os.listdir("/proc/self/fd")) == before
