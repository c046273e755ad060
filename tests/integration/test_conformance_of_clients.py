"""The conformance kit with clients under test: our own passes, and each one that knows less is found out."""

import sys
from collections import defaultdict

import pytest

from gateway.conformance.client_promises import PROMISES
from gateway.conformance.client_under_test import ClientUnderTest
from gateway.conformance.conduct import TriedPromise, Verdict, each_tried
from gateway.conformance.promise import Promise

BY_NAME = {promise.name: promise for promise in PROMISES}
CLIENT = f"{sys.executable} -m tests.support.following_client"

DEFECTS = [
    ("no-token", "client/goes-on-after-cuts"),
    ("no-retry", "client/goes-on-after-cuts-at-once"),
    ("ok-is-the-end", "client/takes-an-early-ok-for-a-cut"),
    ("no-retry", "client/survives-a-cut-at-the-end"),
    ("keeps-all", "client/begins-anew-after-a-restart"),
    ("no-token", "client/takes-heartbeats-for-nothing"),
    ("rounds", "client/keeps-numbers-exact"),
    ("no-errors", "client/shows-errors-of-items"),
    ("doubles", "client/folds-what-comes"),
    ("insists", "client/tells-that-a-run-is-missing"),
]


async def tried(command: str, promises: list[Promise], patience: float = 60.0) -> list[TriedPromise]:
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


@pytest.mark.parametrize("command", ["/nowhere/client 2>&-", "exit 64;"])
async def test_a_command_that_is_none_or_has_no_such_mode_is_not_tried(command: str) -> None:
    [found] = await tried(command, PROMISES[:1])
    assert found.verdict is Verdict.NOT_TRIED


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("true", "has not printed one JSON value"),
        ("echo 7; true", "has printed no list of results"),
        ("sleep 60; true", "has not ended within 1 s"),
    ],
)
async def test_what_is_no_answer(command: str, told: str) -> None:
    [found] = await tried(command, PROMISES[:1], patience=1.0)
    assert found.verdict is Verdict.BROKEN
    assert told in found.reason
