"""What a set tells over each front, change by change."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple

import aiohttp
from google.protobuf.json_format import ParseDict

from runs.v1 import runs_pb2
from tests.support.event_stream import following

CAUGHT_UP = "caughtUp"


class Told(NamedTuple):
    """A change, or that the present is complete. `state` is that of the run; "" if it is not told."""

    event: str
    run_id: str
    state: str
    revision: int
    token: str | bytes
    restarted: bool


async def told_by_grpc(stub: Any, wanted: dict[str, Any], token: str | bytes) -> AsyncGenerator[Told, None]:
    """Follow a set by WatchRuns. `wanted` is a filter in JSON."""
    assert isinstance(token, bytes)
    given = ParseDict(wanted, runs_pb2.RunFilter())
    added = runs_pb2.WatchSet(name="set", filter=given, resume_token=token)
    call = stub.WatchRuns(iter([runs_pb2.WatchRunsRequest(add_set=added)]))
    try:
        async for response in call:
            assert (response.set, response.WhichOneof("event")) in (("set", "caught_up"), ("set", "update")), response
            if response.HasField("caught_up"):
                yield Told(CAUGHT_UP, "", "", 0, response.caught_up.resume_token, response.caught_up.restarted)
                continue
            event, update = runs_pb2.SetEvent.Name(response.set_event), response.update
            state = runs_pb2.RunState.Name(update.run.status).removeprefix("RUN_STATE_").lower()
            event = event.removeprefix("SET_EVENT_").lower()
            yield Told(event, response.run_id, state, update.revision, update.resume_token, update.restarted)
    finally:
        call.cancel()


async def told_by_events(address: str, wanted: dict[str, Any], token: str | bytes) -> AsyncGenerator[Told, None]:
    """Follow a set by the event stream of runs/watch."""
    params = {"filter": wanted} | ({"resumeToken": token} if token else {})
    async with (
        aiohttp.ClientSession() as session,
        following(session, f"http://{address}/", params, method="runs/watch") as events,
        aclosing(events),
    ):
        async for event in events:
            told = json.loads(event.data)["params"]
            assert event.id is not None
            state = told.get("run", {}).get("status", "")
            restarted = told.get("restarted", False)
            yield Told(told["event"], told.get("runId", ""), state, told.get("revision", 0), event.id, restarted)


class SetStory:
    """Folds what is told. `states` are those of the runs that are in the set."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.events: list[tuple[str, str]] = []
        self.token: str | bytes = b""
        self.is_complete = False

    async def read(self, told: AsyncGenerator[Told, None], expected: dict[str, str] | None = None) -> None:
        """Read until the set is complete; with `expected`, until it is this as well."""
        self.is_complete = False
        async with asyncio.timeout(60), aclosing(told):
            async for each in told:
                assert not each.restarted
                self.token = each.token
                if each.event == CAUGHT_UP:
                    self.is_complete = True
                else:
                    self.events.append((each.event, each.run_id))
                    self.states[each.run_id] = each.state
                    if each.event == "left":
                        del self.states[each.run_id]
                if self.is_complete and expected in (None, self.states):
                    return
        raise AssertionError("the stream has ended")
