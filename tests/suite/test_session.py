import json
import signal
from pathlib import Path

import pytest

from tests.suite.inner import Inner

REPORT = """
import asyncio, json, locale, os, signal, subprocess, sys, time

from tests.support.session import say

CHILD = '''
import json, os, signal, sys
print(json.dumps([
    sys.stdin.read(),
    signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    [int(number) for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN],
    [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    os.umask(0),
    sys.getfilesystemencoding(),
]))
'''


def test_report(tmp_path):
    say("said by a test")
    child = subprocess.run([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, check=True)
    (tmp_path / "file").touch()
    report = {
        "child": json.loads(child.stdout),
        "environment": dict(os.environ),
        "mode": (tmp_path / "file").stat().st_mode & 0o777,
        "encoding": locale.getencoding(),
        "number": f"{1.5:n}",
        "zone": time.localtime(0).tm_hour,
        "home": os.access(os.path.expanduser("~"), os.W_OK),
    }
    with open(os.environ["PYTEST_REPORT"], "w") as file:
        json.dump(report, file)
"""

HOSTILE = {
    "LC_ALL": "tr_TR.UTF-8",
    "LANG": "C",
    "LANGUAGE": "tr",
    "TZ": "Asia/Kathmandu",
    "HOME": "/dev/null/home",
    "http_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    "grpc_proxy": "http://127.0.0.1:9",
    "GRPC_VERBOSITY": "debug",
    "COLUMNS": "7",
    "LINES": "3",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONASYNCIODEBUG": "1",
    "PYTHONWARNINGS": "ignore",
    "RUNS_GATEWAY_STATE": "/dev/null/state",
    "RUNS_GATEWAY_ADDRESS": "127.0.0.1:9",
    "XDG_STATE_HOME": "/dev/null",
    "STEPFLOW_URL": "http://127.0.0.1:9",
}
"""What shells and continuous integration are known to set."""


HOSTILE_SHELL = """
import os, signal

# As `nohup` and background jobs of scripts leave them.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
os.umask(0o077)
os.close(0)
"""
"""What is inherited besides the environment: signals, umask, a closed standard input."""


@pytest.mark.parametrize("processes", ["0", "1"])
async def test_every_session_has_the_same_surroundings(tmp_path: Path, processes: str) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    report = tmp_path / "report.json"
    inner = Inner(folder)
    inner.write("test_report.py", REPORT)
    printed = await inner.run(
        "-n", processes, environment={**HOSTILE, "PYTEST_REPORT": str(report)}, shell=HOSTILE_SHELL
    )
    assert report.exists(), printed
    assert "said by a test\n" in printed
    found = json.loads(report.read_text())
    ignored = sorted([signal.SIGPIPE, signal.SIGXFSZ])
    stdin, interruptible, still_ignored, blocked, umask, encoding = found["child"]
    assert (stdin, interruptible, sorted(still_ignored), blocked) == ("", True, ignored, [])
    assert (umask, found["mode"]) == (0o022, 0o644)
    assert (encoding, found["encoding"], found["number"], found["zone"]) == ("utf-8", "UTF-8", "1.5", 0)
    assert found["home"]
    assert HOSTILE.items() & found["environment"].items() == set()
    kept = {name for name in found["environment"] if not name.startswith("PYTEST_")}
    assert kept == {"PATH", "HOME", "LC_ALL", "TZ"}


LEAVING = """
import signal

def test_a_serving_command():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

def test_one_after_it():
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
"""


async def test_a_signal_that_one_test_ignores_is_heeded_by_the_next(tmp_path: Path) -> None:
    inner = Inner(tmp_path)
    inner.write("test_signals.py", LEAVING)
    assert "2 passed" in await inner.run("-n", "0")
