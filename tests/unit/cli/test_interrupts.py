"""Ctrl-C at any moment of a command: it ends, and says nothing."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys

left = {moment}
inside = False

def audit(event, arguments):
    global left, inside
    inside = inside or (event == "import" and arguments[0] == "gateway.cli.program")
    if inside:
        left -= 1
        if left == 0:
            signal.raise_signal(signal.SIGINT)

sys.addaudithook(audit)
from gateway.cli import main
sys.argv[1:] = ["watch", "00000000-0000-0000-0000-000000000000", "--address", "127.0.0.1:1"]
main()
"""


@pytest.mark.parametrize("moment", [1, 2, 30, 300, 700, 1_000, 1_500])
def test_an_interrupt_while_modules_are_imported_is_no_traceback(moment: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(moment=moment)], check=False, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, -15)])
@pytest.mark.parametrize(("line", "told"), [("run x goes on", "run x goes on\n"), ("", "")])
def test_what_must_not_be_lost_is_told_at_the_end(number: int, code: int, line: str, told: str) -> None:
    program = f"""
import signal
from gateway.cli.interrupts import exit_on_interrupt, say_if_ended
exit_on_interrupt()
say_if_ended("an earlier line")
say_if_ended({line!r})
signal.raise_signal({number})
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", told)


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    program = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from gateway.cli.interrupts import exit_on_interrupt
exit_on_interrupt()
signal.raise_signal(signal.SIGINT)
print("goes on")
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "goes on\n")
