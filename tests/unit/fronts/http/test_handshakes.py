"""Handshakes take turns, and their failures are told of without flooding the log."""

import asyncio
import logging

import pytest

from gateway.fronts.http.handshakes import Handshakes


async def test_one_goes_on_in_each_turn_of_the_loop() -> None:
    handshakes = Handshakes()
    turn = 0
    turns: list[int] = []
    for _ in range(5):
        handshakes.add(lambda: turns.append(turn))
    while len(turns) < 5:
        turn += 1
        await asyncio.sleep(0)
    assert len({*turns}) == 5


async def test_one_that_fails_keeps_no_other_from_its_turn() -> None:
    handshakes = Handshakes()
    done = asyncio.Event()
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))

    def fail() -> None:
        raise ValueError("a defect")

    handshakes.add(fail)
    handshakes.add(done.set)
    await done.wait()
    assert [str(problem) for problem in problems] == ["a defect"]


def test_failures_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    handshakes = Handshakes()
    with caplog.at_level(logging.INFO):
        for _ in range(1_000):
            handshakes.note_failure(("127.0.0.1", 1), "it takes too long")
    assert [record.getMessage() for record in caplog.records] == [
        "1 TLS handshakes have failed; the last one, of ('127.0.0.1', 1): it takes too long"
    ]
