"""Sets of runs on a real Temporal server, folded as clients do."""

import asyncio
import random
import uuid
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.core.model import RunState, RunStatus
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetParams
from gateway.runs.set_update import ChangeUpdate, SetCaughtUp
from tests.support.set_picture import SetPicture
from tests.support.temporal_gateway import ECHO, TemporalGateway, temporal_gateway
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

EVERY = RunFilter()
ENDED = RunFilter(states=(RunState.SUCCESS,))
OPEN = RunFilter(states=(RunState.PENDING, RunState.RUNNING))


async def follow(gateway: TemporalGateway, wanted: RunFilter, picture: SetPicture, most: int) -> None:
    """Follow a set from where a picture is, until it is complete or so many changes have come: then it is cut."""
    picture.cut()
    before = picture.told
    async with aclosing(gateway.runtime.watch_set(wanted, picture.position, only_new=False)) as parts:
        async for part in parts:
            assert not part.restarted
            picture.fold(part, most - (picture.told - before))
            if picture.caught_up or picture.told - before >= most:
                return


async def follow_until(gateway: TemporalGateway, wanted: RunFilter, picture: SetPicture, ended: int) -> None:
    """Follow a set until it is complete, and what it tells is that so many runs have ended, and none is open."""
    picture.cut()
    expected = 0 if wanted is OPEN else ended
    async with aclosing(gateway.runtime.watch_set(wanted, picture.position, only_new=False)) as parts:
        async for part in parts:
            assert not part.restarted
            picture.fold(part)
            states = [status.status for status in picture.runs.values()]
            if picture.caught_up and states == [RunState.SUCCESS] * expected:
                return


async def submitted(gateways: list[TemporalGateway], count: int) -> None:
    """Submit runs at gateways in turn, and wait for their ends."""
    for place in range(count):
        gateway = gateways[place % len(gateways)]
        await gateway.wait((await gateway.submit(ECHO)).run_id)


async def test_a_set_is_followed_from_gateway_to_gateway(temporal_server: TemporalServer, tmp_path: Path) -> None:
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    pictures = [(wanted, SetPicture(may_repeat=True)) for wanted in (EVERY, ENDED, OPEN)]
    chance = random.Random(15)
    async with temporal_gateway(runtime, tmp_path) as a, temporal_gateway(runtime, tmp_path) as b:
        for place, gateway in enumerate((a, b) * 2):
            submits = asyncio.create_task(submitted([a, b], 8))
            while not submits.done():
                for wanted, picture in pictures:
                    await follow(chance.choice((a, b)), wanted, picture, chance.randrange(1, 6))
            await submits
            for wanted, picture in pictures:
                await follow_until(gateway, wanted, picture, 8 * (place + 1))
        # Nothing has changed: nothing is told, by whichever gateway.
        told = [picture.told for _, picture in pictures]
        for gateway in (a, b, a):
            for wanted, picture in pictures:
                await follow_until(gateway, wanted, picture, 32)
        assert [picture.told for _, picture in pictures] == told
        (_, every), (_, ended), _ = pictures
        assert every.runs == ended.runs
        for run_id, status in every.runs.items():
            assert (await a.runtime.get(run_id)).status == status


async def test_followers_of_the_service_see_what_happens_at_another_gateway(
    temporal_server: TemporalServer, tmp_path: Path
) -> None:
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    async with temporal_gateway(runtime, tmp_path) as a, temporal_gateway(runtime, tmp_path) as b:
        await submitted([a], 2)
        seen = dict[str, RunStatus]()
        token = b""
        for gateway, other, ended in ((a, b, 4), (b, a, 6), (a, a, 8)):
            submits = asyncio.create_task(submitted([other], 2))
            follower = gateway.service.follow_set(SetParams(resume_token=token))
            caught_up = False
            while not caught_up or [run.status for run in seen.values()] != [RunState.SUCCESS] * ended:
                update = await follower.next()
                if isinstance(update, SetCaughtUp):
                    caught_up, token = True, update.token
                elif isinstance(update, ChangeUpdate):
                    assert not update.restarted
                    seen[update.run_id], token = update.status, update.token
            follower.close()
            await submits
        await a.service.close()
        await b.service.close()


async def test_deleted_runs_leave_sets_on_all_gateways(temporal_server: TemporalServer, tmp_path: Path) -> None:
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    async with temporal_gateway(runtime, tmp_path) as a, temporal_gateway(runtime, tmp_path) as b:
        await submitted([a, b], 3)
        pictures = [(gateway, wanted, SetPicture()) for gateway in (a, b) for wanted in (EVERY, ENDED)]
        for gateway, wanted, picture in pictures:
            await follow_until(gateway, wanted, picture, 3)
        away = SetPicture(may_repeat=True)
        away.runs, away.position = dict(pictures[0][2].runs), pictures[0][2].position
        deleted = next(iter(away.runs))
        async with asyncio.TaskGroup() as group:
            for gateway, wanted, picture in pictures:
                group.create_task(follow_until(gateway, wanted, picture, 2))
            group.create_task(a.runtime.delete(deleted, cancel=False))
        assert all(deleted not in picture.runs for _, _, picture in pictures)
        # One that was away learns it, and one that begins is not told of the run.
        for picture in (away, SetPicture()):
            await follow_until(b, EVERY, picture, 2)
            assert picture.runs == pictures[0][2].runs
