import signal
import subprocess
import sys

import pytest

STUCK = """
import asyncio, os, re, signal, time
from gateway.server import signals

async def main():
    with signals.cancel_on_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            {stuck}

signals.EXIT_SECONDS, signals.ALARM_SECONDS = {exit}, {alarm}
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("stuck", "seconds", "alarm", "code"),
    [
        ("time.sleep(1000)", 0.01, 1000, 0),
        ("re.match('(a+)+$', 'a' * 100 + 'b')", 1000, 0.01, -signal.SIGALRM),
        ("pass", 1000, 1000, 0),
    ],
    ids=["the event loop is stuck", "the interpreter is stuck", "nothing is stuck"],
)
def test_a_signal_ends_a_process_in_time(stuck: str, seconds: float, alarm: float, code: int) -> None:
    program = STUCK.format(stuck=stuck, exit=seconds, alarm=alarm)
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == code


HELD = """
import asyncio, os, re, signal, subprocess, uvloop
from gateway.server import native_alarm, signals

async def main():
    with signals.cancel_on_signals():
        subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -TERM {os.getpid()}"])
        re.match('(a+)+$', 'a' * 100 + 'b')

native_alarm.ARMING_SIGNAL = signal.SIGHUP  # its number is 1: a second
asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs signals for descriptors")
def test_a_signal_that_comes_while_the_interpreter_is_held_ends_the_process_in_time() -> None:
    assert subprocess.run([sys.executable, "-c", HELD], check=False, timeout=60).returncode == -signal.SIGALRM


IDLE = """
import asyncio, os, signal, uvloop
from gateway.server import signals

async def main():
    with signals.cancel_on_signals():
        await asyncio.sleep(0)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    for number in range(3):
        with signals.cancel_on_signals():
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
"""


def test_blocks_can_follow_each_other() -> None:
    assert subprocess.run([sys.executable, "-c", IDLE], check=False, timeout=60).returncode == 0
