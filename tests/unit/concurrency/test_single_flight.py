"""Work that many ask for at the same time."""

import asyncio
import gc

import pytest

from gateway.concurrency.batches import BATCH
from gateway.concurrency.single_flight import SingleFlight
from gateway.core.errors import Unavailable
from tests.support.tasks import all_ended


class Work:
    """Counts its calls, and waits until it may end."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.may_end = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, key: str, number: int) -> int:
        self.calls.append((key, number))
        await self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        return number


async def asked(flights: SingleFlight[str, [int], int], key: str, count: int) -> list["asyncio.Task[int]"]:
    """Tasks that wait for the work."""
    tasks = [asyncio.create_task(flights.get(key, number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_work_is_done_once_for_all_that_ask_meanwhile() -> None:
    work = Work()
    flights = SingleFlight(work.__call__)
    waiting = await asked(flights, "a", 3 * BATCH)
    assert "a" in flights
    work.may_end.set()
    assert await asyncio.gather(*waiting) == [0] * len(waiting)
    assert "a" not in flights
    assert await flights.get("a", 7) == 7
    assert work.calls == [("a", 0), ("a", 7)]


async def test_keys_are_worked_on_apart() -> None:
    work = Work()
    flights = SingleFlight(work.__call__)
    work.may_end.set()
    first, second = await asyncio.gather(flights.get("a", 1), flights.get("b", 2))
    assert (first, second) == (1, 2)


async def test_work_goes_on_when_a_caller_leaves() -> None:
    work = Work()
    flights = SingleFlight(work.__call__)
    leaving, staying = await asked(flights, "a", 2)
    leaving.cancel()
    work.may_end.set()
    assert await staying == 0
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_failure_reaches_all_and_the_next_call_tries_again() -> None:
    work = Work()
    flights = SingleFlight(work.__call__)
    waiting = await asked(flights, "a", 3)
    work.failure = ValueError("broken")
    work.may_end.set()
    assert await asyncio.gather(*waiting, return_exceptions=True) == [work.failure] * 3
    work.failure = None
    assert await flights.get("a", 4) == 4


async def test_a_failure_without_callers_is_not_complained_about(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    flights = SingleFlight(work.__call__)
    (leaving,) = await asked(flights, "a", 1)
    leaving.cancel()
    work.failure = ValueError("broken")
    work.may_end.set()
    await asyncio.wait({leaving})
    await all_ended()
    del leaving
    gc.collect()
    assert caplog.records == []


async def test_closing_sends_all_callers_away() -> None:
    work = Work()
    flights = SingleFlight(work.__call__)
    waiting = await asked(flights, "a", 3)
    await flights.close()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, Unavailable)
    await all_ended()
