"""What a client has to do with a set of runs that it follows."""

from typing import Final

import grpc

from gateway.conformance.client_under_test import ClientUnderTest
from gateway.conformance.promise import PROTO, Promises, hold
from gateway.conformance.set_story import Happening, SetCallPlan, SetStory
from runs.v1 import runs_pb2

PROMISES = Promises("client-set", f"{PROTO}: WatchSet")

_A, _B, _C, _LAST = (f"0190f1f8-0000-7000-8000-00000000000{number}" for number in "1239")
_LOST: Final = grpc.StatusCode.UNAVAILABLE
_HAPPENS: Final = (
    Happening(_A, runs_pb2.RUN_STATE_RUNNING),
    Happening(_B, runs_pb2.RUN_STATE_PENDING),
    Happening(_LAST, runs_pb2.RUN_STATE_RUNNING),
    Happening(_A, runs_pb2.RUN_STATE_FAILED),
    Happening(_B, None),
    Happening(_C, runs_pb2.RUN_STATE_CANCELLED),
    Happening(_LAST, runs_pb2.RUN_STATE_SUCCESS),
)
_ALL: Final = len(_HAPPENS)


@PROMISES.promise("Its picture is the latest state of each run that has come and has not left.")
async def keeps_a_picture(client: ClientUnderTest) -> None:
    await client.tells_set(SetStory(_HAPPENS, (SetCallPlan(3),)), _LAST)


@PROMISES.promise("The picture is complete at `caught_up`, and not before.", f"{PROTO}: CaughtUp")
async def waits_until_it_is_caught_up(client: ClientUnderTest) -> None:
    # The run ends before all others: who does not wait misses them.
    happens = (_HAPPENS[-1], *_HAPPENS[:2], *_HAPPENS[3:-1])
    await client.tells_set(SetStory(happens, (SetCallPlan(2, 2, _LOST), SetCallPlan(len(happens)))), _LAST)


@PROMISES.promise("After an error it adds the set with the token of its last message.")
async def goes_on_after_cuts(client: ClientUnderTest) -> None:
    cuts = [SetCallPlan(before, messages, _LOST) for before, messages in ((3, 2), (3, 0), (4, 3), (6, 1))]
    server = await client.tells_set(SetStory(_HAPPENS, (*cuts, SetCallPlan(_ALL))), _LAST)
    hold(all(request.resume_token for request in server.requests[1:]), "a set is added after a cut without a token")


@PROMISES.promise("OK is a cut: a set goes on until it is removed.")
async def takes_an_early_ok_for_a_cut(client: ClientUnderTest) -> None:
    plans = (SetCallPlan(2, 1, grpc.StatusCode.OK), SetCallPlan(4, 4, grpc.StatusCode.OK), SetCallPlan(_ALL))
    await client.tells_set(SetStory(_HAPPENS, plans), _LAST)


@PROMISES.promise("DEADLINE_EXCEEDED is a cut, before a deadline of the client: a proxy has one of its own.")
async def takes_a_deadline_of_a_proxy_for_a_cut(client: ClientUnderTest) -> None:
    late = grpc.StatusCode.DEADLINE_EXCEEDED
    plans = (SetCallPlan(2, 0, late), SetCallPlan(4, 3, late), SetCallPlan(_ALL))
    await client.tells_set(SetStory(_HAPPENS, plans), _LAST)


@PROMISES.promise("When a message says `restarted`, the picture is dropped.", f"{PROTO}: WatchSet.resume_token")
async def begins_anew_after_a_restart(client: ClientUnderTest) -> None:
    await client.tells_set(SetStory(_HAPPENS, (SetCallPlan(3, 4, _LOST), SetCallPlan(6, forgets=True))), _LAST)
