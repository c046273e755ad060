"""The conformance kit with clients under test: our own passes, and each one that knows less is found out."""

import sys
from collections import defaultdict
from collections.abc import Sequence

import pytest

from gateway.conformance.all_promises import CLIENT_PROMISES as PROMISES
from gateway.conformance.client_under_test import ClientUnderTest
from gateway.conformance.conduct import TriedPromise, Verdict, each_tried
from gateway.conformance.promise import Promise

BY_NAME = {promise.name: promise for promise in PROMISES}
PRINT = f"{sys.executable} -c"
CLIENT = f"{sys.executable} -m tests.support.following_client"

DEFECTS = [
    ("no-token", "client/goes-on-after-cuts"),
    ("no-retry", "client/goes-on-after-cuts-at-once"),
    ("ok-is-the-end", "client/takes-an-early-ok-for-a-cut"),
    ("deadline-is-final", "client/takes-a-deadline-of-a-proxy-for-a-cut"),
    ("no-retry", "client/survives-a-cut-at-the-end"),
    ("keeps-all", "client/begins-anew-after-a-restart"),
    ("no-token", "client/takes-heartbeats-for-nothing"),
    ("rounds", "client/keeps-numbers-exact"),
    ("no-errors", "client/shows-errors-of-items"),
    ("doubles", "client/folds-what-comes"),
    ("insists", "client/tells-that-a-run-is-missing"),
    ("one-run", "client-watch/folds-each-run"),
    ("insists", "client-watch/tells-that-a-run-is-missing"),
    ("no-token", "client-watch/goes-on-after-cuts"),
    ("no-retry", "client-watch/goes-on-after-cuts"),
    ("ok-is-the-end", "client-watch/takes-an-early-ok-for-a-cut"),
    ("no-token", "client-watch/survives-a-cut-at-the-end"),
    ("ended-is-the-end", "client-watch/adds-runs-that-are-left-too-early"),
    ("keeps-all", "client-watch/begins-anew-after-a-restart"),
    ("beats-count", "client-watch/takes-heartbeats-for-nothing"),
    ("no-left", "client-set/keeps-a-picture"),
    ("hasty", "client-set/waits-until-it-is-caught-up"),
    ("no-token", "client-set/goes-on-after-cuts"),
    ("ok-is-the-end", "client-set/takes-an-early-ok-for-a-cut"),
    ("deadline-is-final", "client-set/takes-a-deadline-of-a-proxy-for-a-cut"),
    ("keeps-all", "client-set/begins-anew-after-a-restart"),
]


async def tried(command: str, promises: Sequence[Promise], patience: float = 60.0) -> list[TriedPromise]:
    return [one async for one in each_tried(ClientUnderTest(command, patience), promises)]


async def test_our_client_passes() -> None:
    found = await tried(CLIENT, PROMISES)
    assert {one.promise.name: one.reason for one in found if one.verdict is not Verdict.KEPT} == {}


@pytest.mark.parametrize(("defect", "promise"), DEFECTS)
async def test_each_defect_is_found_out(defect: str, promise: str) -> None:
    [found] = await tried(f"{CLIENT} {defect}", [BY_NAME[promise]])
    assert found.verdict is Verdict.BROKEN


def test_each_promise_has_a_defect_that_breaks_it() -> None:
    breaking = defaultdict(list)
    for defect, promise in DEFECTS:
        breaking[promise].append(defect)
    assert set(breaking) == set(BY_NAME)


async def test_a_client_that_knows_less_of_one_method_is_not_tried_there() -> None:
    # What it does not know, it says by its exit code.
    only_follows = f'f() {{ [ $1 = follow ] || exit 64; {CLIENT} "$@"; }}; f'
    found = await tried(only_follows, [each for each in PROMISES if each.name.endswith("/goes-on-after-cuts")])
    assert [one.verdict for one in found] == [Verdict.KEPT, Verdict.NOT_TRIED, Verdict.NOT_TRIED]


@pytest.mark.parametrize("command", ["/nowhere/client 2>&-", "exit 64;"])
async def test_a_command_that_is_none_or_has_no_such_mode_is_not_tried(command: str) -> None:
    [found] = await tried(command, PROMISES[:1])
    assert found.verdict is Verdict.NOT_TRIED


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("true", "has not printed one JSON value"),
        ("echo 7; true", "has printed no list of results"),
        (f"{PRINT} \"print('['*200_000 + ']'*200_000)\"", "has not printed one JSON value"),
        (f"{PRINT} \"print('[' * 900 + ']' * 900)\"", "has printed no list of results"),
        ("echo 1e99999999999999999999; true", "has not printed one JSON value"),
        ("yes; true", "has printed more than 16777216 bytes"),
    ],
)
async def test_what_is_no_answer(command: str, told: str) -> None:
    [found] = await tried(command, PROMISES[:1])
    assert found.verdict is Verdict.BROKEN
    assert told in found.reason


@pytest.mark.parametrize(("command", "told"), [("sleep 60; true", "has not ended within 1 s")])
async def test_what_never_answers(command: str, told: str) -> None:
    [found] = await tried(command, PROMISES[:1], patience=1.0)
    assert found.verdict is Verdict.BROKEN
    assert told in found.reason
