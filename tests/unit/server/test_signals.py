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
