import re
from pathlib import Path

import pytest

from tests.suite.inner import Inner

CONFTEST = """
import asyncio

import pytest
import uvloop

from tests.support import time_limit

time_limit.AGAIN_SECONDS = 0.5


def pytest_asyncio_loop_factories():
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
"""

HANG = """
import asyncio
import queue
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(0.5)


async def waits_in_a_helper():
    await asyncio.Event().wait()


async def test_an_await():
    background = asyncio.create_task(asyncio.Event().wait(), name="background")
    await waits_in_a_helper()


async def test_a_loop_that_never_rests():
    while True:
        await asyncio.sleep(0)


async def test_a_task_that_takes_every_exception():
    async def insist():
        while True:
            try:
                while True:
                    time.sleep(0.01)
            except BaseException:
                await asyncio.Event().wait()

    await asyncio.shield(asyncio.create_task(insist()))


def test_a_blocking_call():
    queue.Queue().get()


def test_another_thread():
    started, ending = threading.Event(), threading.Event()

    def wait_elsewhere():
        started.set()
        ending.wait()

    thread = threading.Thread(target=wait_elsewhere, name="elsewhere")
    thread.start()
    try:
        thread.join()
    finally:
        ending.set()


@settings(deadline=None)
@given(st.integers())
def test_a_property(number):
    queue.Queue().get()


@pytest.fixture
def begins():
    queue.Queue().get()


@pytest.fixture
async def begins_async():
    await asyncio.Event().wait()


@pytest.fixture
def ends():
    yield
    queue.Queue().get()


@pytest.fixture
async def ends_async():
    yield
    await asyncio.Event().wait()


def test_a_fixture_that_begins(begins):
    pass


async def test_an_async_fixture_that_begins(begins_async):
    pass


def test_a_fixture_that_ends(ends):
    pass


async def test_an_async_fixture_that_ends(ends_async):
    pass


async def test_both(ends, ends_async):
    await asyncio.Event().wait()


@pytest.mark.timeout(60)
def test_the_next():
    pass


@pytest.mark.timeout(60)
async def test_the_one_after():
    pass
"""

MODULE = """
import asyncio

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")
left = []


@pytest.mark.timeout(0.5)
async def test_hangs():
    try:
        await asyncio.Event().wait()
    finally:
        left.append(True)


async def test_the_next_in_the_same_loop():
    await asyncio.sleep(0)
    assert left
"""


@pytest.fixture
def inner(tmp_path: Path) -> Inner:
    return Inner(tmp_path)


@pytest.mark.parametrize("processes", ["0", "2"])
async def test_each_test_that_hangs_fails_with_all_stacks_and_the_next_goes_on(inner: Inner, processes: str) -> None:
    inner.write("conftest.py", CONFTEST)
    inner.write("test_hangs.py", HANG)
    printed = await inner.run("-n", processes)
    failed, errors = (re.findall(rf"^{word} \S+::(\S+)", printed, re.MULTILINE) for word in ("FAILED", "ERROR"))
    loops = ("asyncio", "uvloop")
    calls = ["an_await", "a_loop_that_never_rests", "a_task_that_takes_every_exception", "both"]
    fixtures = ["an_async_fixture_that_begins", "an_async_fixture_that_ends", "both"]
    assert sorted(failed) == sorted(
        [f"test_{name}[{loop}]" for name in calls for loop in loops]
        + ["test_a_blocking_call", "test_another_thread", "test_a_property"]
    ), printed
    stuck = [f"test_{name}[{loop}]" for name in fixtures for loop in loops]
    stuck += ["test_a_fixture_that_begins", "test_a_fixture_that_ends"]
    assert set(stuck) <= set(errors), printed
    assert "in waits_in_a_helper" in printed
    assert "task background:" in printed
    assert "thread elsewhere:" in printed
    assert "in wait_elsewhere" in printed


async def test_a_loop_that_tests_share_is_left_clean(inner: Inner) -> None:
    inner.write("test_module.py", MODULE)
    printed = await inner.run()
    assert "1 failed, 1 passed" in printed, printed


async def test_what_holds_the_interpreter_ends_the_process_and_another_goes_on(inner: Inner) -> None:
    """As a call into C that never comes back does."""
    inner.write(
        "test_held.py",
        "import signal\n\ndef test_held():\n    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})\n"
        "    signal.sigwait({signal.SIGUSR1})\n\ndef test_next():\n    pass\n",
    )
    settings = ("-o", "faulthandler_timeout=1", "-o", "faulthandler_exit_on_timeout=true")
    printed = await inner.run("-n", "1", *settings)
    assert "1 failed, 1 passed" in printed, printed
    assert "Timeout (0:00:01)!" in printed
    assert "in test_held" in printed
