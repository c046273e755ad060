"""Sets of the embedded runtime against what `get` says of its runs."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from gateway.core.clock import now
from gateway.core.model import RunState, RunStatus, SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetEvent, SetPart
from gateway.flows.new_record import new_record
from gateway.flows.run_ids import RUN_IDS, key_of
from gateway.runtimes.embedded import memory_changes, tombstones
from gateway.runtimes.embedded.run_keys import key_at
from tests.support.embedded import Embedded, opened
from tests.support.set_picture import SetPicture, those_of

AT_ONCE = {"steps": [], "output": {"$input": "$"}}
WITH_STEP = {
    "steps": [{"id": "s", "component": "/builtin/eval", "input": {"flow": AT_ONCE, "input": {"$input": "$"}}}],
    "output": {"$step": "s"},
}
ENDLESS = {
    "steps": [
        {
            "id": "s",
            "component": "/builtin/iterate",
            "input": {
                "flow": {"$literal": {"steps": [], "output": {"next": {"$input": "$"}}}},
                "initial_input": 0,
                "max_iterations": 100_000,
            },
        }
    ],
    "output": {"$step": "s"},
}
"""It takes seconds, unless it is cancelled."""

FILTERS = (
    RunFilter(),
    RunFilter(states=(RunState.PENDING, RunState.RUNNING)),
    RunFilter(states=(RunState.RUNNING,)),
    RunFilter(states=(RunState.SUCCESS,)),
    RunFilter(flow_label="a*"),
    RunFilter(roots_only=True, labels={"k": "1"}),
)


@pytest.fixture(params=["file", "memory"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "state.db" if request.param == "file" else None


def watch(
    embedded: Embedded, wanted: RunFilter, position: bytes = b"", *, only_new: bool = False
) -> AsyncGenerator[SetPart, None]:
    return embedded.runtime.watch_set(wanted, position, only_new=only_new)


async def follow(embedded: Embedded, wanted: RunFilter, picture: SetPicture, cut_after: int = 1_000_000) -> None:
    """Follow a set until the present is complete, or for so many changes: then the stream is cut."""
    picture.cut()
    async with aclosing(watch(embedded, wanted, picture.position)) as parts:
        async for part in parts:
            picture.fold(part, cut_after)
            cut_after -= len(part.changes)
            if picture.caught_up or cut_after <= 0:
                return


async def all_of(embedded: Embedded, run_ids: list[str]) -> list[RunStatus]:
    return [(await embedded.runtime.get(run_id)).status for run_id in run_ids]


async def test_first_all_runs_then_caught_up_then_what_happens(state: Path | None) -> None:
    async with opened(state) as embedded:
        await embedded.start()
        first = [(await embedded.submit(flow, n)).run_id for n in range(3) for flow in (AT_ONCE, WITH_STEP)]
        picture = SetPicture()
        async with aclosing(watch(embedded, RunFilter(roots_only=True))) as parts:
            async for part in parts:
                picture.fold(part)
                if part.caught_up:
                    break
            assert picture.runs == those_of(RunFilter(roots_only=True), await all_of(embedded, first))
            assert picture.told == 6
            status = await embedded.submit(WITH_STEP, 9)
            events = []
            while picture.runs.get(status.run_id) is None or not picture.runs[status.run_id].status.terminal:
                part = await anext(parts)
                events += [change.event for change in part.changes]
                picture.fold(part)
            assert events[0] is SetEvent.ADDED
            assert set(events[1:]) <= {SetEvent.CHANGED}


async def test_what_changes_while_runs_are_listed_comes_before_the_present_is_complete(
    state: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(state) as embedded:
        await embedded.start()
        run = await embedded.submit(ENDLESS, 1, wait=False)
        search = embedded.journal.search

        async def searching(*arguments: Any, **named: Any) -> AsyncGenerator[Any, None]:
            await embedded.runtime.cancel(run.run_id, None)
            async with aclosing(search(*arguments, **named)) as pages:
                async for page in pages:
                    yield page

        monkeypatch.setattr(embedded.journal, "search", searching)
        picture = SetPicture()
        await follow(embedded, RunFilter(), picture)
        assert picture.runs == those_of(RunFilter(), await all_of(embedded, [run.run_id]))


async def test_only_new_runs(state: Path | None) -> None:
    async with opened(state) as embedded:
        await embedded.start()
        await embedded.submit(AT_ONCE, 1)
        async with aclosing(watch(embedded, RunFilter(), only_new=True)) as parts:
            part = await anext(parts)
            assert (part.changes, part.caught_up) == ([], True)
            status = await embedded.submit(AT_ONCE, 2)
            assert [change.run_id for change in (await anext(parts)).changes] == [status.run_id]


async def test_a_follower_waits_for_a_change_that_is_being_written(state: Path | None) -> None:
    """It must not read again and again meanwhile: the write would never be settled."""
    async with opened(state) as embedded:
        await embedded.start()
        async with aclosing(watch(embedded, RunFilter(), only_new=True)) as parts:
            await anext(parts)
            waiting = asyncio.create_task(anext(parts))
            await asyncio.sleep(0)
            status = await embedded.submit(AT_ONCE, 1)
            assert [change.run_id for change in (await waiting).changes] == [status.run_id]


@pytest.mark.parametrize("wanted", FILTERS)
async def test_cuts_and_restarts_lose_nothing_and_repeat_nothing(wanted: RunFilter, state: Path | None) -> None:
    await model(wanted, state, seed=1, steps=60)


async def model(wanted: RunFilter, state: Path | None, *, seed: int, steps: int) -> None:
    """Runs come and end while a client is cut again and again, and now and then the gateway restarts."""
    chance = random.Random(seed)
    run_ids: list[str] = []
    picture = SetPicture()
    left = steps
    while left > 0:
        if state is None:
            run_ids = []
        async with opened(state) as embedded:
            await embedded.start()
            for _ in range(chance.randint(5, 25)):
                left -= 1
                for _ in range(chance.randint(0, 4)):
                    run_ids.append(await submitted(embedded, chance))
                await follow(embedded, wanted, picture, chance.choice((0, 1, 2, 5, 50, 1_000)))
                if chance.random() < 0.2:
                    for run_id in run_ids:
                        await embedded.wait(run_id)
                    await follow(embedded, wanted, picture)
                    assert picture.runs == await expected(embedded, wanted)


async def submitted(embedded: Embedded, chance: random.Random) -> str:
    """The id of a new run."""
    inputs = range(chance.randint(0, 3))
    label, labels = chance.choice(("a", "ab", "b", None)), {"k": chance.choice(("1", "2"))}
    flow, wait = chance.choice((AT_ONCE, WITH_STEP)), chance.random() < 0.3
    return (await embedded.submit(flow, *inputs, wait=wait, flow_label=label, labels=labels)).run_id


async def expected(embedded: Embedded, wanted: RunFilter) -> dict[str, RunStatus]:
    """The runs that match, nested ones included."""
    return those_of(wanted, await all_of(embedded, [status.run_id for status in await listed(embedded)]))


async def listed(embedded: Embedded) -> list[RunStatus]:
    """All runs."""
    return (await embedded.runtime.list_runs(RunFilter(), RunOrder.OLDEST_FIRST, "", 100_000)).runs


async def test_what_is_being_written_is_waited_for_without_holding_up_others() -> None:
    async with opened() as embedded:
        await embedded.start()
        log = embedded.journal.changes
        async with aclosing(watch(embedded, RunFilter(), only_new=True)) as parts:
            assert (await anext(parts)).caught_up
            number = log.begin("somebody's")
            status = await embedded.submit(AT_ONCE, 1)
            following = asyncio.create_task(anext(parts))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not following.done()
            log.abandon(number)
            assert [change.run_id for change in (await following).changes] == [status.run_id]


async def test_a_set_is_of_a_namespace(state: Path | None) -> None:
    wanted = RunFilter(namespace="team-a")
    picture, other = SetPicture(), SetPicture()
    async with opened(state) as embedded:
        await embedded.start()
        runs = {name: await embedded.submit_in(name, WITH_STEP, 1) for name in ("default", "team-a", "team-b")}
        await follow(embedded, wanted, picture)
        await follow(embedded, RunFilter(namespace="default"), other)
        assert set(picture.runs) == {runs["team-a"].run_id}
        assert set(other.runs) == {runs["default"].run_id}
        position = picture.position
        for run in (runs["default"], runs["team-b"]):
            await embedded.runtime.delete(run.run_id, cancel=False)
        await follow(embedded, wanted, picture)
        assert picture.told == 1, "nothing of what has happened elsewhere"
        await embedded.runtime.delete(runs["team-a"].run_id, cancel=False)
    if state is not None:
        async with opened(state) as embedded:
            parts = watch(embedded, wanted, position)
            gone = [change.run_id for part in [await anext(parts)] for change in part.changes]
            assert runs["team-a"].run_id in gone
            await parts.aclose()


async def test_what_others_delete_does_not_make_a_position_too_old(
    state: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tombstones, "MAX_TOMBSTONES", 2)
    monkeypatch.setattr(tombstones, "_DROPPED", 1)
    monkeypatch.setattr(memory_changes, "MAX_TOMBSTONES", 2)
    async with opened(state) as embedded:
        await embedded.start()
        positions = {}
        for name in ("default", "team-a"):
            picture = SetPicture()
            await embedded.submit_in(name, AT_ONCE, 1)
            await follow(embedded, RunFilter(namespace=name), picture)
            positions[name] = picture.position
        for number in range(9):
            gone = await embedded.submit_in("team-a", AT_ONCE, number)
            await embedded.runtime.delete(gone.run_id, cancel=False)
        await embedded.submit_in("default", AT_ONCE, 2)
        restarted = {}
        for name, position in positions.items():
            async with aclosing(watch(embedded, RunFilter(namespace=name), position)) as parts:
                restarted[name] = (await anext(parts)).restarted
        assert restarted == {"default": False, "team-a": True}


async def test_numbers_in_positions_do_not_count_what_others_do() -> None:
    """They tell the time."""
    async with opened() as embedded:
        await embedded.start()
        first = RUN_IDS.tick()
        for number in range(20):
            await embedded.submit_in("team-a", WITH_STEP, number)
        assert abs(RUN_IDS.tick() - key_at(now())) < key_at(10**9)
        assert RUN_IDS.last - first > 1_000


async def test_a_cursor_among_runs_of_before_does_not_count_runs(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        for number in range(5):
            flow_id = await embedded.put(AT_ONCE)
            given = SubmitParams(flow_id=flow_id, inputs=[str(number)])
            record = new_record(given, "", None, None, "", run_timeout=None)
            await embedded.journal.create(record, given.inputs)
    async with opened(path) as embedded:
        unfinished = await embedded.journal.unfinished(0)
        assert [run.number for run in unfinished] == [(key_of(run.run_id) or 0) + 1 for run in unfinished]
        assert await embedded.journal.unfinished(unfinished[2].number) == unfinished[3:]
