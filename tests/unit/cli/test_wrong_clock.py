"""A clock that is far from the truth: one line says so."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, time

def moment():
    {moment}

time.time, time.time_ns = moment, lambda: int(moment() * 10**9)
from gateway.cli import main
sys.argv[1:] = {arguments}
main()
"""
BEFORE_1970 = "return -60_000 * 86_400.0"
BEYOND_2262 = "raise OverflowError('timestamp too large to convert to C _PyTime_t')"
SERVE = ["serve", "--state", ":memory:", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"]
BRIDGE = ["bridge", "--engine", "http://127.0.0.1:1", "--queue", "q", "--state", ":memory:", "--component", "/a=a"]


@pytest.mark.parametrize("moment", [BEFORE_1970, BEYOND_2262])
@pytest.mark.parametrize("arguments", [SERVE, BRIDGE])
def test_a_server_does_not_start(arguments: list[str], moment: str) -> None:
    ended = run(arguments, moment)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: the clock ")
    assert ended.stderr.endswith(" is wrong: it has to be set to a year from 1970 to 2262\n")
    assert ended.stderr.count("\n") == 1


def test_another_command_that_cannot_tell_the_time_says_so() -> None:
    ended = run(["get", "nonsense"], BEYOND_2262)
    message = "error: the clock is wrong: it has to be set to a year from 1970 to 2262\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", message)


def run(arguments: list[str], moment: str) -> subprocess.CompletedProcess[str]:
    """Run a command while the clock tells this moment."""
    program = PROGRAM.format(moment=moment, arguments=arguments)
    return subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
