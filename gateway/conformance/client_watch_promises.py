"""What a client has to do with several runs that it follows on one stream."""

from typing import Final

import grpc

from gateway.conformance.client_under_test import ClientUnderTest
from gateway.conformance.promise import PROTO, Promises, hold, same
from gateway.conformance.story import CallPlan, Story

PROMISES = Promises("client-watch", f"{PROTO}: WatchRuns")

_UNKNOWN: Final = "0190f1f8-0000-7000-8000-00000000ffff"
_LOST: Final = grpc.StatusCode.UNAVAILABLE
_RUNS: Final = (
    Story((("0",), ("1", "2"), ("3",)), run_id="0190f1f8-0000-7000-8000-000000000001"),
    Story((("10", "11"), ("12",), ("13", "14"), ("15",)), run_id="0190f1f8-0000-7000-8000-000000000002"),
    Story((("20", None),), run_id="0190f1f8-0000-7000-8000-000000000003"),
)


@PROMISES.promise("It tells the runs apart: each has the results of its own messages, in order, and its own state.")
async def folds_each_run(client: ClientUnderTest) -> None:
    await client.tells_all(_RUNS, CallPlan())


@PROMISES.promise("A run that does not exist is an error of that run alone, and is not asked for again.")
async def tells_that_a_run_is_missing(client: ClientUnderTest) -> None:
    server = await client.tells_all(_RUNS, CallPlan(4, _LOST), CallPlan(), missing=[_UNKNOWN])
    same(server.missed, 1, "how often a run was asked for that does not exist")


@PROMISES.promise("After an error it adds each run that has not ended, with the token of its last update.")
async def goes_on_after_cuts(client: ClientUnderTest) -> None:
    server = await client.tells_all(_RUNS, CallPlan(4, _LOST), CallPlan(0, _LOST), CallPlan(3, _LOST), CallPlan())
    hold(all(all(asked.values()) for asked in server.asked[1:]), "a run is added after a cut without a token")


@PROMISES.promise("OK is a cut, while runs have not ended.")
async def takes_an_early_ok_for_a_cut(client: ClientUnderTest) -> None:
    await client.tells_all(_RUNS, CallPlan(2), CallPlan(5), CallPlan())


@PROMISES.promise("After an error between the terminal state and `ended`, or behind that, nothing comes twice.")
async def survives_a_cut_at_the_end(client: ClientUnderTest) -> None:
    messages = sum(len(story.parts) + 1 for story in _RUNS)
    await client.tells_all(_RUNS, CallPlan(messages - 1, _LOST), CallPlan(None, _LOST), CallPlan())


@PROMISES.promise("A run that is `ended` in a state that is not terminal is added again.", f"{PROTO}: WatchEnded")
async def adds_runs_that_are_left_too_early(client: ClientUnderTest) -> None:
    await client.tells_all(_RUNS, CallPlan(leaves_early=True), CallPlan())


@PROMISES.promise(
    "When an update says `restarted`, the results of that run are dropped.", f"{PROTO}: GetRunResponse.restarted"
)
async def begins_anew_after_a_restart(client: ClientUnderTest) -> None:
    await client.tells_all(_RUNS, CallPlan(5, _LOST), CallPlan(forgets=True))


@PROMISES.promise("Heartbeats change nothing.", f"{PROTO}: GetRunResponse.heartbeat")
async def takes_heartbeats_for_nothing(client: ClientUnderTest) -> None:
    await client.tells_all(_RUNS, CallPlan(4, _LOST, heartbeats=2), CallPlan(heartbeats=2))
