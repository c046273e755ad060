"""A pytest plugin: a test that takes too long fails, shows where everything stands, and the next test goes on.

pytest-timeout says how long a test may take. Its own signal handler raises once, which is not enough: a task of
asyncio may take the exception, and the end of a fixture may hang. Here the signal comes again until the test has
ended, and each time the stacks of all threads and of all tasks go into the report.
"""

import asyncio
import faulthandler
import gc
import inspect
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import pytest
import pytest_asyncio.plugin
from _pytest.outcomes import OutcomeException

AGAIN_SECONDS: Final = 10.0
"""How long fixtures have to end after the limit, and the pause before the next try to end the test."""

SLOW_SECONDS: Final = 300.0
"""The limit of tests with real engines. That of the others is in pyproject.toml."""


_phase = ""
"""Which part of a test runs just now; empty while pytest itself does, which nothing may interrupt."""
_limit_passed = pytest.StashKey[bool]()


class TookTooLong(OutcomeException):
    """Ends a test. Neither `except Exception` nor Hypothesis, which would run the test again, takes it for theirs."""


class FixtureTookTooLong(TookTooLong, SystemExit):
    """Ends a fixture. Event loops let it through, even if it comes while one is idle."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Set the timer in place of pytest-timeout."""

    def expired(_number: int, _frame: FrameType | None) -> None:
        if not _phase:
            return
        seconds = f"another {AGAIN_SECONDS:g}" if item.stash.get(_limit_passed, False) else f"{settings.timeout:g}"
        item.stash[_limit_passed] = True
        item.add_report_section("at the limit", "stacks", stacks())
        _cancel(item)
        kind = TookTooLong if _phase == "call" else FixtureTookTooLong
        raise kind(f"the {_phase} of the test has not ended after {seconds} s; the stacks are below")

    signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout, AGAIN_SECONDS)
    return True


def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    """Stop it: the test has ended, or a debugger has begun."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    return True


def _interruptible(item: pytest.Item, phase: str) -> Generator[None, Any, Any]:
    """Let the timer end what runs meanwhile; after the limit, it gets the time that fixtures have to end."""
    global _phase  # noqa: PLW0603 - there is one main thread
    if item.stash.get(_limit_passed, False):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    _phase = phase
    try:
        return (yield)
    finally:
        _phase = ""


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _interruptible(item, "setup"))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _interruptible(item, "call"))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _interruptible(item, "teardown"))


@contextmanager
def suspended() -> Iterator[None]:
    """Does not count the time inside: for what is downloaded once and used by many tests."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    faulthandler.cancel_dump_traceback_later()
    left, again = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, again)


def stacks() -> str:
    """Where each thread and each unfinished task of asyncio stands, innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    ]
    parts += [f"task {task.get_name()}:\n{''.join(_stack(task))}" for task in _tasks()]
    return "\n".join(parts)


def _tasks() -> list[asyncio.Task[Any]]:
    """The unfinished tasks of all event loops."""
    return [item for item in gc.get_objects() if isinstance(item, asyncio.Task) and not item.done()]


def _stack(task: asyncio.Task[Any]) -> list[str]:
    frames = []
    waiting: Any = task.get_coro()
    while (frame := getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)) is not None:
        frames.append((frame, frame.f_lineno))
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return traceback.StackSummary.extract(iter(frames)).format()


def _cancel(item: pytest.Item) -> None:
    """Cancel what the test or a fixture of it runs: uvloop, when idle, only logs the exception.

    Otherwise it would also go on in an event loop that the test shares with the tests after it.
    """
    function = inspect.unwrap(item.function) if isinstance(item, pytest.Function) else None
    for task in _tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code and (code is getattr(function, "__code__", None) or code.co_filename == pytest_asyncio.plugin.__file__):
            task.cancel()
