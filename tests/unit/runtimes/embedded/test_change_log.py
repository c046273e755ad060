import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Unavailable
from gateway.runtimes.embedded import change_log
from gateway.runtimes.embedded.change_log import ChangeLog, RunMark

STEPS = st.lists(st.tuples(st.sampled_from(["touch", "begin", "settle", "abandon", "read"]), st.integers(0, 9)))


@given(STEPS)
def test_a_reader_is_told_the_last_change_of_each_run_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    log = ChangeLog()
    log.follow()
    marks = [RunMark(log, str(number)) for number in range(3)]
    log.marks.update({mark.run_id: mark for mark in marks})
    told: list[tuple[int, str]] = []
    writing: list[int] = []
    begun = point = log.head

    def read() -> None:
        nonlocal point
        stable = log.stable
        for number, mark in log.after(point, 1_000):
            if number <= stable and mark.number == number:
                told.append((number, mark.run_id))
        point = max(point, stable)

    for what, which in steps:
        if what == "touch":
            mark = marks[which % len(marks)]
            mark.number = log.tick(mark)
        elif what == "begin":
            writing.append(log.begin(str(which % len(marks))))
        elif what == "read":
            read()
        elif writing:
            number = writing.pop(which % len(writing))
            log.settle(number) if what == "settle" else log.abandon(number)
    for number in writing:
        log.settle(number)
    read()
    assert told == sorted(set(told))
    assert {(mark.number, mark.run_id) for mark in marks if mark.number > begun} <= set(told)


async def test_who_waits_is_woken_by_what_is_settled_and_by_the_stop() -> None:
    log = ChangeLog()
    log.follow()
    number = log.begin("run")
    waiting = asyncio.create_task(log.changed(number - 1))
    await asyncio.sleep(0)
    later = log.begin("other")
    log.settle(later)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    log.settle(number)
    assert await waiting == later
    waiting = asyncio.create_task(log.changed(log.head))
    await asyncio.sleep(0)
    log.stop()
    with pytest.raises(Unavailable):
        await waiting


async def test_changes_are_kept_in_a_bounded_number_and_only_for_followers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "KEPT_CHANGES", 100)
    monkeypatch.setattr(change_log, "DROPPED", 10)
    log = ChangeLog()
    mark = RunMark(log, "run")
    log.tick(mark)
    assert log.after(0, 10) == []
    log.follow()
    begun = log.head
    numbers = [log.tick(mark) for _ in range(1_000)]
    kept = [number for number, _ in log.after(begun, 1_000)]
    assert 100 <= len(kept) <= 110
    assert kept == numbers[-len(kept) :]
    assert log.kept_after == numbers[-len(kept) - 1]
    log.leave()
    assert log.kept_after is None
    assert log.after(0, 10) == []


def test_positions_of_earlier_openings_are_bounded_and_others_are_not_known() -> None:
    log = ChangeLog(9, {1 << 32: 100, 2 << 32: 200})
    assert log.bound(1 << 32) == 200
    assert log.bound(2 << 32) == log.opened
    assert log.bound(log.era) == log.head
    assert log.bound(3 << 32) is None
