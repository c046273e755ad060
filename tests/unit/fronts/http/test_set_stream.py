"""`runs/watch` as an event stream, over the embedded runtime."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import aiohttp
import pytest

from gateway.adapter.status_to_json import run_status_to_json
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.services import RunsServices
from tests.support.embedded import Embedded, opened
from tests.support.event_stream import Event, following

AT_ONCE = {"steps": [], "output": {"$input": "$"}}


class Watched(NamedTuple):
    """A front over the embedded runtime, and a client of it."""

    embedded: Embedded
    url: str
    session: aiohttp.ClientSession

    def watch(
        self, *, last_event_id: str | None = None, **params: Any
    ) -> AbstractAsyncContextManager[AsyncGenerator[Event, None]]:
        return following(self.session, self.url, params, last_event_id=last_event_id, method="runs/watch")

    async def post(self, params: object, accept: str | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | ({} if accept is None else {"Accept": accept})
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/watch", "params": params})
        async with self.session.post(self.url, data=body, headers=headers) as response:
            assert response.headers["Content-Type"] == "application/json"
            return await response.json()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    async with opened() as embedded:
        await embedded.start()
        front = HttpFront(JsonRpcMethods(RunsServices(embedded.service)), "127.0.0.1:0")
        await front.start()
        async with aiohttp.ClientSession(read_bufsize=1 << 26) as session:
            yield Watched(embedded, f"http://{front.address}/", session)
        await front.stop(0)


def params_of(event: Event) -> Any:
    message = event.message
    assert message["method"] == "runs/set"
    return message["params"]


async def until_caught_up(events: AsyncGenerator[Event, None]) -> list[Event]:
    found = [await anext(events)]
    while params_of(found[-1])["event"] != "caughtUp":
        found.append(await anext(events))
    return found


async def test_a_set_is_told_then_caught_up_then_what_happens(watched: Watched) -> None:
    first = await watched.embedded.submit(AT_ONCE, 1, flow_label="a")
    await watched.embedded.submit(AT_ONCE, 1, flow_label="b")
    async with watched.watch(filter={"flowLabel": "a*"}) as events:
        told, caught_up = await until_caught_up(events)
        params = params_of(told)
        status = (await watched.embedded.runtime.get(first.run_id)).status
        assert params == {
            "event": "added",
            "runId": first.run_id,
            "revision": params["revision"],
            "run": json.loads(run_status_to_json(status)),
        }
        assert params_of(caught_up) == {"event": "caughtUp"}
        assert told.id is not None
        assert caught_up.id is not None
        later = await watched.embedded.submit(AT_ONCE, 2, flow_label="ab")
        assert params_of(await anext(events))["runId"] == later.run_id
    async with watched.watch(last_event_id=caught_up.id, filter={"flowLabel": "a*"}) as events:
        again = await until_caught_up(events)
        assert [params_of(event).get("runId") for event in again] == [later.run_id, None]
    async with watched.watch(resumeToken="none", filter={"flowLabel": "a*"}) as events:
        anew = [params_of(event) for event in await until_caught_up(events)]
        assert [params.get("restarted", False) for params in anew] == [True, False, False]


async def test_a_deleted_run_has_left(watched: Watched) -> None:
    status = await watched.embedded.submit(AT_ONCE, 1)
    async with watched.watch() as events:
        await until_caught_up(events)
        await watched.embedded.runtime.delete(status.run_id, cancel=False)
        assert params_of(await anext(events)) == {"event": "left", "runId": status.run_id}


async def test_results_come_with_the_end_and_the_id_with_the_last_of_them(watched: Watched) -> None:
    async with watched.watch(onlyNew=True, includeResults=True) as events:
        await until_caught_up(events)
        await watched.embedded.submit(AT_ONCE, *["x" * 40_000] * 8, "y" * 300_000)
        ended: list[Event] = []
        while not ended or ended[-1].id is None:
            event = await anext(events)
            if "completedAt" in params_of(event)["run"]:
                ended.append(event)
        assert len(ended) > 1
        results = [result for event in ended for result in params_of(event)["run"]["results"]]
        assert [result["itemIndex"] for result in results] == list(range(9))


async def test_a_heartbeat_comes_when_nothing_happens(watched: Watched) -> None:
    async with watched.watch(heartbeatSecs=0.1) as events:
        (caught_up,) = await until_caught_up(events)
        beat = await anext(events)
        assert params_of(beat) == {"event": "heartbeat"}
        assert beat.id == caught_up.id


async def test_what_is_wrong_is_said_as_an_answer(watched: Watched) -> None:
    answer = await watched.post({})
    assert "Accept: text/event-stream" in answer["error"]["message"]
    for params, field in [
        ({"filter": {"flowIds": ["x"]}}, "filter.flowIds[0]"),
        ({"filter": {"flowid": "x"}}, "filter.flowid"),
        ({"heartbeatSecs": 0}, "heartbeatSecs"),
        ({"onlyNew": True, "resumeToken": "x"}, "onlyNew"),
    ]:
        answer = await watched.post(params, "text/event-stream")
        assert [violation["field"] for violation in answer["error"]["data"]["violations"]] == [field]


async def test_a_drain_is_told_as_the_response(watched: Watched) -> None:
    async with watched.watch() as events:
        await until_caught_up(events)
        await watched.embedded.runtime.drain()
        assert (await anext(events)).message["error"]["data"]["reason"] == "UNAVAILABLE"
