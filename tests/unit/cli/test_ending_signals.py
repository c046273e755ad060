"""Signals that end a command which has something to put away."""

import asyncio
import gc
import signal

import pytest

from gateway.cli import ending_signals
from gateway.cli.ending_signals import EndingSignals


async def _for_ever(stopped: list[str]) -> str:
    try:
        await asyncio.Event().wait()
        return "never"
    finally:
        stopped.append("in order")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_cuts_what_goes_on(number: signal.Signals, code: int) -> None:
    stopped: list[str] = []
    before = signal.getsignal(number)
    with EndingSignals() as ending:
        asyncio.get_running_loop().call_soon(signal.raise_signal, number)
        assert await ending.cut(_for_ever(stopped)) is None
        assert (ending.came, ending.exit_code, stopped) == (number, code, ["in order"])
    assert signal.getsignal(number) is before


async def test_what_comes_afterwards_has_its_time_whatever_signals_come() -> None:
    async def put_away() -> str:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        return "done"

    with EndingSignals() as ending:
        signal.raise_signal(signal.SIGINT)
        assert await ending.cut(put_away(), 60.0) == "done"
        assert await ending.cut(_for_ever([]), 0.0) is None
        assert ending.came is signal.SIGINT


async def test_what_fails_is_told() -> None:
    async def fail() -> None:
        raise ValueError("wrong")

    with EndingSignals() as ending, pytest.raises(ValueError, match="wrong"):
        await ending.cut(fail())


async def test_a_failure_is_not_told_again_if_nobody_waits_for_it() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def fail_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("wrong")

    with EndingSignals() as ending:
        waiting = asyncio.create_task(ending.cut(fail_at_the_end()))
        for _ in range(2):  # Its task, and the one of the work.
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    del waiting
    await asyncio.sleep(0)
    gc.collect()
    assert told == []


async def test_who_does_not_end_is_cancelled_again_and_then_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending_signals, "_SECONDS", 0.01)
    cancels = 0
    left = asyncio.Event()

    async def go_on() -> str:
        nonlocal cancels
        while not left.is_set():
            try:
                await left.wait()
            except asyncio.CancelledError:
                cancels += 1
        return "left"

    with EndingSignals() as ending:
        signal.raise_signal(signal.SIGINT)
        assert await ending.cut(go_on(), 0.01) is None
    assert cancels == 2
    left.set()


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with EndingSignals() as ending:
            signal.raise_signal(signal.SIGHUP)
            assert ending.came is None
    finally:
        signal.signal(signal.SIGHUP, before)
