"""What a client has to do with a run that it follows, whatever happens to its calls."""

from typing import Final

import grpc

from gateway.conformance.client_under_test import ClientUnderTest
from gateway.conformance.promise import PROTO, Promises, hold, same
from gateway.conformance.story import CallPlan, Story

PROMISES = Promises("client", f"{PROTO}: GetRun")

_UNKNOWN: Final = "0190f1f8-0000-7000-8000-00000000ffff"
_LOST: Final = grpc.StatusCode.UNAVAILABLE
_PARTS: Final = (("0",), ("1", "2"), ("3",), ("4", "5"))


@PROMISES.promise("It takes the last status, and the results of all messages in order.")
async def folds_what_comes(client: ClientUnderTest) -> None:
    await client.tells(Story(_PARTS, (CallPlan(),)))


@PROMISES.promise("It shows results that failed, with their errors.", f"{PROTO}: ItemResult")
async def shows_errors_of_items(client: ClientUnderTest) -> None:
    await client.tells(Story((("0", None), ("2",)), (CallPlan(),)))


@PROMISES.promise("Numbers arrive as they were sent: integers of any size, and decimals.", f"{PROTO}: JsonValue.json")
async def keeps_numbers_exact(client: ClientUnderTest) -> None:
    values = ("1152921504606846977", "1e400", '{"a":0.1234567890123456789}', '"\\u00fc"', "null")
    await client.tells(Story((values,), (CallPlan(),)))


@PROMISES.promise("After an error it calls again, with the token of the last message.")
async def goes_on_after_cuts(client: ClientUnderTest) -> None:
    server = await client.tells(Story(_PARTS, (CallPlan(1, _LOST),) * 3 + (CallPlan(),)))
    tokens = [request.resume_token for request in server.requests]
    hold(all(tokens[1:]), "a call after a cut has no token")


@PROMISES.promise("It calls again after a cut that came before the first message.")
async def goes_on_after_cuts_at_once(client: ClientUnderTest) -> None:
    await client.tells(Story(_PARTS, (CallPlan(0, _LOST), CallPlan(2, _LOST), CallPlan(0, _LOST), CallPlan())))


@PROMISES.promise("OK with a state that is not terminal is a cut: a proxy may have shortened the deadline.")
async def takes_an_early_ok_for_a_cut(client: ClientUnderTest) -> None:
    await client.tells(Story(_PARTS, (CallPlan(1), CallPlan(2), CallPlan())))


@PROMISES.promise("DEADLINE_EXCEEDED is a cut, before a deadline of the client: a proxy has one of its own.")
async def takes_a_deadline_of_a_proxy_for_a_cut(client: ClientUnderTest) -> None:
    late = grpc.StatusCode.DEADLINE_EXCEEDED
    await client.tells(Story(_PARTS, (CallPlan(0, late), CallPlan(2, late), CallPlan())))


@PROMISES.promise("After an error behind the terminal state nothing comes twice.")
async def survives_a_cut_at_the_end(client: ClientUnderTest) -> None:
    await client.tells(Story(_PARTS, (CallPlan(None, _LOST), CallPlan())))


@PROMISES.promise(
    "When a message says `restarted`, it drops the results that it had.", f"{PROTO}: GetRunResponse.restarted"
)
async def begins_anew_after_a_restart(client: ClientUnderTest) -> None:
    await client.tells(Story(_PARTS, (CallPlan(2, _LOST), CallPlan(forgets=True))))


@PROMISES.promise("Heartbeats change nothing.", f"{PROTO}: GetRunResponse.heartbeat")
async def takes_heartbeats_for_nothing(client: ClientUnderTest) -> None:
    await client.tells(Story(_PARTS, (CallPlan(2, _LOST, heartbeats=2), CallPlan(heartbeats=3))))


@PROMISES.promise(
    "A run that does not exist is an error with the name of its status, `NOT_FOUND`, and is not tried again."
)
async def tells_that_a_run_is_missing(client: ClientUnderTest) -> None:
    printed, calls = await client.misses(Story(_PARTS, (CallPlan(),)), _UNKNOWN)
    hold("NOT_FOUND" in printed, f"the client prints {printed[:200]!r}")
    same(calls, 1, "the number of calls for a run that does not exist")
