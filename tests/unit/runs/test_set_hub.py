"""The hub of sets over the embedded runtime: many followers of one set, slow ones, and those that were cut."""

import asyncio
import random

import pytest

from gateway.core.errors import InvalidParams, Unavailable
from gateway.core.model import RunState, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetEvent, SetParams
from gateway.runs import set_topic
from gateway.runs.set_follower import SetFollower
from gateway.runs.set_update import ChangeUpdate, SetCaughtUp, SetHeartbeat
from tests.support.embedded import Embedded, opened

AT_ONCE = {"steps": [], "output": {"$input": "$"}}
WITH_STEP = {
    "steps": [{"id": "s", "component": "/builtin/eval", "input": {"flow": AT_ONCE, "input": {"$input": "$"}}}],
    "output": {"$step": "s"},
}
UNFINISHED = RunFilter(states=(RunState.PENDING, RunState.RUNNING))


class Follower:
    """A client: its picture of a set."""

    def __init__(self, embedded: Embedded, params: SetParams) -> None:
        self.follower: SetFollower = embedded.service.follow_set(params)
        self.runs: dict[str, RunStatus] = {}
        self.token = params.resume_token
        self.updates: list[ChangeUpdate] = []
        self.caught_up: SetCaughtUp | None = None

    async def until_caught_up(self) -> None:
        while self.caught_up is None:
            await self.step()

    async def step(self) -> None:
        update = await self.follower.next()
        assert update is not None
        self.take(update)

    async def all_that_is_there(self, turns: int = 50) -> None:
        for _ in range(turns):
            while (update := await self.follower.poll()) is not None:
                self.take(update)
            await asyncio.sleep(0)

    def take(self, update: ChangeUpdate | SetCaughtUp | SetHeartbeat) -> None:
        assert not isinstance(update, SetHeartbeat)
        if isinstance(update, SetCaughtUp):
            assert update.token >= self.token
            self.token, self.caught_up = update.token, update
            return
        assert update.token > self.token
        self.token = update.token
        self.updates.append(update)
        if update.event is SetEvent.LEFT:
            self.runs.pop(update.run_id, None)
        else:
            self.runs[update.run_id] = update.status


async def ended(embedded: Embedded, number: int) -> dict[str, RunStatus]:
    """Runs that have ended."""
    found = {}
    for index in range(number):
        status = await embedded.submit(AT_ONCE if index % 3 else WITH_STEP, index)
        found[status.run_id] = (await embedded.runtime.get(status.run_id)).status
    return found


async def all_ended(embedded: Embedded) -> list[RunStatus]:
    """All runs, when they have ended."""
    while True:
        runs = (await embedded.runtime.list_runs(RunFilter(), RunOrder.OLDEST_FIRST, "", 10_000)).runs
        open_runs = [status.run_id for status in runs if not status.status.terminal]
        if not open_runs:
            return runs
        for run_id in open_runs:
            await embedded.wait(run_id)


async def test_followers_of_one_set_share_its_updates() -> None:
    async with opened() as embedded:
        await embedded.start()
        followers = [Follower(embedded, SetParams(filter=RunFilter(roots_only=True))) for _ in range(3)]
        for each in followers:
            await each.until_caught_up()
        assert len(embedded.service.sets) == 1
        runs = await ended(embedded, 5)
        for each in followers:
            await each.all_that_is_there()
            assert each.runs == runs
        first, *others = (each.updates[-1] for each in followers)
        assert all(other is first for other in others)
        for each in followers:
            each.follower.close()
        assert len(embedded.service.sets) == 0


@pytest.mark.parametrize("wanted", [RunFilter(), UNFINISHED, RunFilter(states=(RunState.SUCCESS,))])
async def test_slow_followers_and_cuts_come_to_the_same_picture(
    wanted: RunFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_topic, "KEPT_CHANGES", 20)
    chance = random.Random(2)
    async with opened() as embedded:
        await embedded.start()
        followers = [Follower(embedded, SetParams(filter=wanted)) for _ in range(5)]
        for _ in range(40):
            for _ in range(chance.randint(0, 5)):
                await embedded.submit(chance.choice((AT_ONCE, WITH_STEP)), 1, 2, wait=chance.random() < 0.2)
            for index, each in enumerate(followers):
                if chance.random() < 0.2:
                    each.follower.close()
                    each.follower = embedded.service.follow_set(SetParams(filter=wanted, resume_token=each.token))
                for _ in range(chance.randint(0, 4 * index)):
                    if (update := await each.follower.poll()) is not None:
                        each.take(update)
                    await asyncio.sleep(0)
        statuses = await all_ended(embedded)
        for each in followers:
            each.follower.close()
            each.caught_up = None
            each.follower = embedded.service.follow_set(SetParams(filter=wanted, resume_token=each.token))
            await each.until_caught_up()
            assert each.runs == {status.run_id: status for status in statuses if wanted.matches(status)}
            each.follower.close()


async def test_results_come_with_the_end_and_the_token_with_the_last_of_them() -> None:
    async with opened() as embedded:
        await embedded.start()
        follower = Follower(embedded, SetParams(include_results=True))
        await follower.until_caught_up()
        status = await embedded.submit(AT_ONCE, *["x" * 400_000] * 8)
        parts: list[ChangeUpdate] = []
        while not parts or not parts[-1].token_after(10):
            update = await follower.follower.next()
            assert isinstance(update, ChangeUpdate)
            parts.append(update)
        assert len(parts) > 1
        assert [bool(part.token_after(10)) for part in parts] == [False] * (len(parts) - 1) + [True]
        results = [result for part in parts for result in part.status.results or ()]
        assert [result.item_index for result in results] == list(range(8))
        assert {part.run_id for part in parts} == {status.run_id}
        follower.follower.close()


async def test_tokens_of_other_filters_and_garbage_start_anew() -> None:
    async with opened() as embedded:
        await embedded.start()
        runs = await ended(embedded, 2)
        first = Follower(embedded, SetParams())
        await first.until_caught_up()
        for token, wanted in [
            (first.token, RunFilter(roots_only=True)),
            (b"x", RunFilter()),
            (b"\xff" * 60, UNFINISHED),
        ]:
            follower = Follower(embedded, SetParams(filter=wanted, resume_token=token))
            follower.token = b""
            await follower.until_caught_up()
            assert follower.caught_up is not None
            restarted = [update.restarted for update in follower.updates] + [follower.caught_up.restarted]
            assert restarted == [True] + [False] * (len(restarted) - 1)
            assert (
                follower.runs.keys() == {run_id for run_id in runs if wanted.matches(runs[run_id])}
                or wanted == RunFilter()
            )
            follower.follower.close()
        first.follower.close()


async def test_only_new_excludes_a_token() -> None:
    async with opened() as embedded:
        with pytest.raises(InvalidParams, match="only without a token"):
            embedded.service.follow_set(SetParams(only_new=True, resume_token=b"x"))


async def test_a_drain_and_a_close_end_all_followers() -> None:
    async with opened() as embedded:
        await embedded.start()
        followers = [Follower(embedded, SetParams()) for _ in range(3)]
        await followers[0].until_caught_up()
        waiting = [asyncio.create_task(each.until_caught_up()) for each in followers[1:]]
        await asyncio.gather(*waiting)
        steps = [asyncio.create_task(each.step()) for each in followers]
        await asyncio.sleep(0)
        await embedded.runtime.drain()
        for step in steps:
            with pytest.raises(Unavailable):
                await step
        await embedded.service.close()
        with pytest.raises(Unavailable):
            embedded.service.follow_set(SetParams())


async def test_a_heartbeat_comes_when_nothing_happens() -> None:
    async with opened() as embedded:
        await embedded.start()
        follower = embedded.service.follow_set(SetParams(heartbeat_interval=0.1))
        caught_up = await follower.next()
        assert isinstance(caught_up, SetCaughtUp)
        assert await follower.next() == SetHeartbeat(caught_up.token)
        follower.close()
