"""Sets of runs, on every runtime that follows them, over every front."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from gateway.core.control import CancelParams
from gateway.server.listening import Addresses
from tests.conformance.systems import FRONTS, submit
from tests.support.runtimes import WITH_SETS, gateway_over
from tests.support.set_stories import SetStory, Told, told_by_events, told_by_grpc
from tests.support.updates import Follower, GrpcFollower, JsonRpcFollower

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ECHO = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
LONG = """{"name":"long","steps":[{"id":"s","component":"/builtin/iterate","input":{
    "flow":{"$literal":{"steps":[],"output":{"next":{"$input":"$"}}}},
    "initial_input":{"$input":"$"},"max_iterations":{"$literal":100000}}}],"output":{"$step":"s"}}"""


class Followed(NamedTuple):
    """A client of one front, which follows sets over it."""

    client: Follower
    front: str
    addresses: Addresses

    def told(self, wanted: dict[str, Any], token: str | bytes = b"") -> AsyncGenerator[Told, None]:
        if isinstance(self.client, GrpcFollower):
            return told_by_grpc(self.client.runs, wanted, token)
        return told_by_events(self.addresses.http, wanted, token)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=WITH_SETS)
async def addresses(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Addresses]:
    async with gateway_over(request.param, tmp_path_factory.mktemp("runtime")) as addresses:
        yield addresses


@pytest_asyncio.fixture(loop_scope="module", params=FRONTS)
async def followed(request: pytest.FixtureRequest, addresses: Addresses) -> AsyncIterator[Followed]:
    client = GrpcFollower(addresses.grpc) if request.param == "grpc" else JsonRpcFollower(addresses.http)
    yield Followed(client, request.param, addresses)
    await client.close()


async def test_a_set_is_what_its_filter_says_before_and_after_a_cut(followed: Followed) -> None:
    client, labels = followed.client, {"by": f"cut {followed.front}"}
    wanted = {"labels": labels}
    await submit(client, ECHO, ["0"], wait=True)
    runs = [(await submit(client, ECHO, ["0"], wait=True, labels=labels)).run_id for _ in range(3)]
    story = SetStory()
    await story.read(followed.told(wanted))
    assert story.states == dict.fromkeys(runs, "success")
    assert story.events == [("added", run_id) for run_id in runs]
    # Nothing has happened: nothing is told.
    await story.read(followed.told(wanted, story.token))
    assert len(story.events) == 3
    runs.append((await submit(client, ECHO, ["0"], wait=True, labels=labels)).run_id)
    await story.read(followed.told(wanted, story.token), dict.fromkeys(runs, "success"))
    assert {run_id for _, run_id in story.events[3:]} == {runs[-1]}


async def test_runs_come_and_leave_by_their_states(followed: Followed) -> None:
    client, labels = followed.client, {"by": f"states {followed.front}"}
    open_runs = {"labels": labels, "states": ["RUN_STATE_PENDING", "RUN_STATE_RUNNING"]}
    cancelled = {"labels": labels, "states": ["RUN_STATE_CANCELLED"]}
    if followed.front != "grpc":
        open_runs["states"], cancelled["states"] = ["pending", "running"], ["cancelled"]
    run_id = (await submit(client, LONG, ["0"] * 500, labels=labels, max_concurrency=1)).run_id
    here, gone = SetStory(), SetStory()
    await here.read(followed.told(open_runs), {run_id: "running"})
    await gone.read(followed.told(cancelled))
    assert gone.states == {}
    await client.cancel(CancelParams(run_id=run_id, wait=True))
    await here.read(followed.told(open_runs, here.token), {})
    await gone.read(followed.told(cancelled, gone.token), {run_id: "cancelled"})
    assert here.events[-1] == ("left", run_id)
    assert gone.events[0] == ("added", run_id)
    # From the beginning, it is the same.
    again = SetStory()
    await again.read(followed.told(cancelled))
    assert (again.states, again.events) == (gone.states, [("added", run_id)])
