"""Followers of sets, over an index and runs that the test gives."""

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import cast

import pytest

from gateway.core.errors import RunNotFound, Unavailable
from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetEvent, SetPart
from gateway.core.runtime import Snapshot
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal import set_poller
from gateway.runtimes.temporal.followed_sets import FollowedSets
from gateway.runtimes.temporal.messages import ItemCounts, RunEnd
from gateway.runtimes.temporal.question_budget import RATE
from gateway.runtimes.temporal.recent_here import RecentHere
from gateway.runtimes.temporal.run_reader import RunReader
from gateway.runtimes.temporal.run_view import RunView
from gateway.runtimes.temporal.set_point import BUCKETS, SetPoint, step_key
from gateway.runtimes.temporal.visibility_query import MILLISECOND
from gateway.runtimes.temporal.visible_runs import VisibleRun, VisibleRuns
from tests.support.set_picture import SetPicture

NOW = 1_700_000_000_000 * MILLISECOND
LATER = 4_000_000_000_000 * MILLISECOND
EVERY = RunFilter()


class GivenRuns:
    """The runs of an engine, and its index. `failure` is that of the index."""

    def __init__(self) -> None:
        self.runs: dict[str, VisibleRun] = {}
        self.late: list[VisibleRun] = []
        """What the index still has of runs that are deleted."""
        self.added = 0
        self.notices: list[VisibleRun] = []
        self.recent = RecentHere()
        self.asked = 0
        self.lists = 0
        self.failure: Exception | None = None
        self.failed = asyncio.Event()

    def add(self) -> str:
        """Begin a run."""
        self.added += 1
        return self.begin(str(uuid.UUID(int=self.added)), NOW + self.added * MILLISECOND)

    def begin(self, run_id: str, created_at: int) -> str:
        """Begin a run with an id."""
        record = RunRecord(run_id, "f", None, None, 1, None, None, "{}", None, "", None, "", created_at)
        self.runs[run_id] = VisibleRun(record, None, created_at, None)
        return run_id

    def end(self, run_id: str, at: int = LATER) -> None:
        """End a run, later than anything is forgotten."""
        ended = RunEnd(RunState.SUCCESS, 3, ItemCounts(0, 1, 0, 0), NOW, at)
        self.runs[run_id] = self.runs[run_id]._replace(ended=ended, closed_at=at)

    def delete(self, run_id: str, at: int = LATER) -> tuple[VisibleRun, VisibleRun]:
        """End and delete a run; return what the index has of it until later, and the notice."""
        self.end(run_id, at)
        run = self.runs.pop(run_id)
        return run, run._replace(ended=None, began_at=at, is_deleted=True)

    async def all(self, query: str) -> AsyncGenerator[list[VisibleRun], None]:
        if self.failure is not None:
            self.failed.set()
            raise self.failure
        self.lists += 1
        yield self._found(query)

    async def count(self, query: str) -> int:
        return len(self._found(query))

    def _found(self, query: str) -> list[VisibleRun]:
        between = re.search("RunsCreated >= '(.*?)' AND RunsCreated < '(.*?)'", query)
        all_runs = [*self.late, *self.runs.values(), *self.notices]
        if (after := re.search("CloseTime >= '(.*?)'", query)) is not None:
            since = round(datetime.fromisoformat(after[1]).timestamp() * 1e3) * MILLISECOND
            return [run for run in all_runs if run.closed_at is None or run.closed_at >= since]
        if between is None:
            return all_runs
        low, high = (round(datetime.fromisoformat(text).timestamp() * 1e3) * MILLISECOND for text in between.groups())
        return [run for run in all_runs if low <= run.record.created_at < high]

    def known(self, run_id: str) -> RunView | None:
        return None

    async def get(self, run_id: str) -> Snapshot:
        self.asked += 1
        if run_id not in self.runs:
            raise RunNotFound(run_id)
        view = RunView(self.runs[run_id].record)
        view.ended = self.runs[run_id].ended
        return view.snapshot()


@pytest.fixture
async def given() -> GivenRuns:
    return GivenRuns()


@pytest.fixture
async def sets(given: GivenRuns, monkeypatch: pytest.MonkeyPatch) -> FollowedSets:
    monkeypatch.setattr(set_poller, "SLOWEST", 0.01)
    return FollowedSets(cast("VisibleRuns", given), cast("RunReader", given))


async def told(parts: AsyncGenerator[SetPart, None], picture: SetPicture, runs: dict[str, RunState]) -> None:
    """Read until the set is complete, and its runs are in these states."""
    async with asyncio.timeout(30):
        async for part in parts:
            picture.fold(part)
            if picture.caught_up and {run_id: run.status for run_id, run in picture.runs.items()} == runs:
                return


async def test_a_follower_goes_on_after_the_engine_was_away(sets: FollowedSets, given: GivenRuns) -> None:
    first, picture = given.add(), SetPicture()
    async with aclosing(sets.parts(EVERY, b"", only_new=False)) as parts:
        await told(parts, picture, {first: RunState.PENDING})
        given.failure = Unavailable("away", retry_after=0.01)
        second = given.add()
        given.end(first)
        reading = asyncio.create_task(told(parts, picture, {first: RunState.SUCCESS, second: RunState.PENDING}))
        await given.failed.wait()
        assert not reading.done()
        given.failure = None
        await reading


async def test_who_begins_while_the_engine_is_away_waits_for_it(sets: FollowedSets, given: GivenRuns) -> None:
    first, picture = given.add(), SetPicture()
    given.failure = Unavailable("away", retry_after=0.01)
    async with aclosing(sets.parts(EVERY, b"", only_new=False)) as parts:
        reading = asyncio.create_task(told(parts, picture, {first: RunState.PENDING}))
        await given.failed.wait()
        given.failure = None
        await reading


async def test_followers_end_when_the_engine_is_away_for_long(
    sets: FollowedSets, given: GivenRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_poller, "PATIENCE", 0.0)
    given.failure = Unavailable("away", retry_after=0.01)
    async with aclosing(sets.parts(EVERY, b"", only_new=False)) as parts:
        with pytest.raises(Unavailable, match="away"):
            await anext(parts)


async def test_draining_ends_followers_at_once(sets: FollowedSets) -> None:
    async with aclosing(sets.parts(EVERY, b"", only_new=True)) as parts:
        assert (await anext(parts)).caught_up
        reading = asyncio.create_task(anext(parts))
        await asyncio.sleep(0)
        sets.drain()
        with pytest.raises(Unavailable, match="shutting down"):
            await reading


async def test_a_follower_that_is_slow_skips_states_and_loses_none(
    sets: FollowedSets, given: GivenRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_poller, "KEPT", 4)
    runs = [given.add() for _ in range(3)]
    slow, quick = SetPicture(may_repeat=True), SetPicture()
    async with (
        aclosing(sets.parts(EVERY, b"", only_new=False)) as slowly,
        aclosing(sets.parts(EVERY, b"", only_new=False)) as quickly,
    ):
        await told(slowly, slow, dict.fromkeys(runs, RunState.PENDING))
        runs += [given.add() for _ in range(50)]
        for run_id in runs:
            given.end(run_id)
        for parts, picture in ((quickly, quick), (slowly, slow)):
            await told(parts, picture, dict.fromkeys(runs, RunState.SUCCESS))
    assert slow.runs == quick.runs


async def test_one_poller_serves_all_who_follow_a_set(sets: FollowedSets, given: GivenRuns) -> None:
    first = given.add()
    async with aclosing(sets.parts(EVERY, b"", only_new=True)) as parts:
        position = (await anext(parts)).position
        followers = [sets.parts(EVERY, position, only_new=False) for _ in range(100)]
        pictures = [SetPicture() for _ in followers]
        given.end(first)
        begun = given.lists
        each = zip(followers, pictures, strict=True)
        await asyncio.gather(*(told(follower, picture, {first: RunState.SUCCESS}) for follower, picture in each))
        assert given.lists - begun < 20
        for follower in followers:
            await follower.aclose()


async def test_many_open_runs_are_told_without_asking_all_of_them(sets: FollowedSets, given: GivenRuns) -> None:
    runs = [given.add() for _ in range(1_000)]
    picture = SetPicture()
    async with aclosing(sets.parts(EVERY, b"", only_new=False)) as parts, asyncio.timeout(60):
        async for part in parts:
            picture.fold(part)
            if picture.caught_up:
                break
    assert picture.runs.keys() == set(runs)
    assert given.asked <= RATE * 20


async def test_a_token_of_another_gateway_tells_what_has_happened_since(sets: FollowedSets, given: GivenRuns) -> None:
    runs, picture = [given.add() for _ in range(40)], SetPicture(may_repeat=True)
    async with aclosing(sets.parts(EVERY, b"", only_new=False)) as parts:
        await told(parts, picture, dict.fromkeys(runs, RunState.PENDING))
    other = FollowedSets(cast("VisibleRuns", given), cast("RunReader", given))
    before = picture.told
    for wanted, at_most in (({}, 0), ({runs[0]: RunState.SUCCESS}, 20)):
        picture.cut()
        for run_id in wanted:
            given.end(run_id)
        async with aclosing(other.parts(EVERY, picture.position, only_new=False)) as parts:
            await told(parts, picture, dict.fromkeys(runs, RunState.PENDING) | wanted)
        assert picture.told - before <= at_most


async def test_a_token_that_is_not_understood_begins_anew(sets: FollowedSets, given: GivenRuns) -> None:
    first = given.add()
    async with aclosing(sets.parts(EVERY, b"token", only_new=False)) as parts:
        part = await anext(parts)
        assert part.restarted
        assert [(change.event, change.run_id) for change in part.changes] == [(SetEvent.ADDED, first)]
        assert not (await anext(parts)).restarted


async def test_a_deleted_run_that_the_index_still_has_comes_back_only_when_it_is_made_anew(
    sets: FollowedSets, given: GivenRuns
) -> None:
    first, picture = given.add(), SetPicture()
    async with aclosing(sets.parts(EVERY, b"", only_new=False)) as parts:
        await told(parts, picture, {first: RunState.PENDING})
        late, notice = given.delete(first)
        await told(parts, picture, {})
        given.late.append(late)
        wanted = {given.add(): RunState.PENDING}
        await told(parts, picture, wanted)
        given.notices.append(notice)
        wanted[given.add()] = RunState.PENDING
        await told(parts, picture, wanted)
        wanted[given.begin(first, notice.record.created_at + MILLISECOND)] = RunState.PENDING
        await told(parts, picture, wanted)


async def test_who_begins_is_not_told_of_a_run_that_was_deleted_before_polls_began(
    sets: FollowedSets, given: GivenRuns
) -> None:
    given.late.extend(given.delete(given.add(), NOW))
    second, picture = given.add(), SetPicture()
    async with aclosing(sets.parts(EVERY, b"", only_new=False)) as parts:
        await told(parts, picture, {second: RunState.PENDING})
    assert picture.told == 1


@pytest.mark.parametrize("notice_first", [False, True])
async def test_who_was_away_is_told_of_a_run_that_was_deleted_and_made_anew(
    sets: FollowedSets, given: GivenRuns, *, notice_first: bool
) -> None:
    first = given.add()
    late, notice = given.delete(first, NOW + MILLISECOND)
    given.late.append(late)
    (given.late if notice_first else given.notices).append(notice)
    given.begin(first, NOW + 3 * MILLISECOND)
    given.end(first, NOW + 4 * MILLISECOND)
    point = SetPoint(False, NOW + 2 * MILLISECOND, step_key(0, 1), NOW // MILLISECOND, (0,) * BUCKETS)
    async with aclosing(sets.parts(EVERY, point.to_bytes(EVERY.digest()), only_new=False)) as parts:
        part = await anext(parts)
    assert [(each.event, each.run_id, each.status and each.status.status) for each in part.changes] == [
        (SetEvent.ADDED, first, RunState.SUCCESS)
    ]
