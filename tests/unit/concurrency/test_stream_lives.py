"""When streams end: at their age, and a few at a time."""

import asyncio

import pytest

from gateway.concurrency.stream_lives import JITTER, StreamLives, last_moment, spread
from gateway.core.errors import GoAway, Unavailable

FOREVER = 600.0


def never() -> None:
    raise AssertionError("the stream was told to end")


async def test_a_stream_is_told_to_end_at_its_age() -> None:
    ended = asyncio.Event()
    lives = StreamLives(0.001)
    with lives.begin(ended.set) as life:
        life.check()
        await ended.wait()
        assert life.over
        with pytest.raises(GoAway) as caught:
            life.check()
    assert caught.value.retry_after == 0
    assert lives.open == 0


def test_ages_are_spread_by_a_tenth() -> None:
    chances = iter((0.0, 0.5, 1.0))
    assert [spread(10, chances.__next__) for _ in range(3)] == pytest.approx([9, 10, 11])
    assert last_moment(10, 5) == pytest.approx(10 * (1 + JITTER) + 5)


async def test_a_stream_that_has_ended_before_is_told_nothing() -> None:
    lives = StreamLives(0.001)
    with lives.begin(never):
        pass
    later = asyncio.Event()
    with lives.begin(later.set):
        await later.wait()
    assert lives.open == 0


async def test_a_stream_that_ends_soon_by_itself_is_left_alone() -> None:
    lives = StreamLives(0.001)
    with lives.begin(never, lasts=False) as brief:
        later = asyncio.Event()
        with lives.begin(later.set):
            await later.wait()
        await lives.end_all(0)
        assert not brief.over
    with lives.begin(never, lasts=False):
        pass


async def test_all_streams_end_in_waves_and_none_begins_any_more() -> None:
    lives = StreamLives(FOREVER)
    told: list[int] = []
    counts: list[int] = []
    streams = [lives.begin(lambda number=number: told.append(number)) for number in range(100)]  # type: ignore[misc]

    async def count() -> None:
        while len(told) < len(streams):
            if not counts or counts[-1] != len(told):
                counts.append(len(told))
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await lives.end_all(2)
    await counting
    assert told == list(range(100))
    assert len(counts) > 2, "all ended at once"
    assert all(life.over for life in streams)
    with pytest.raises(Unavailable):
        lives.begin(never)


async def test_without_streams_nothing_is_waited_for() -> None:
    async with asyncio.timeout(10):
        await StreamLives().end_all(FOREVER)


async def test_streams_that_leave_shorten_the_waves() -> None:
    lives = StreamLives()
    streams = [lives.begin(lambda: None) for _ in range(3)]
    ending = asyncio.create_task(lives.end_all(FOREVER))
    await asyncio.sleep(0)
    for life in streams:
        life.close()
    async with asyncio.timeout(10):
        await ending
