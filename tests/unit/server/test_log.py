import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from gateway.server.log import LogHandler
from gateway.server.log_repeats import Repeats

PROGRAM = """
import logging, sys
from gateway.server.log import log_to_stderr, set_log_level
log_to_stderr("worker", sys.argv[1])
set_log_level("info")
log = logging.getLogger("gateway.part")
for number in range(1_000):
    log.warning("run %d failed", number, extra={"run_id": f"r{number}"})
log.info("end")
"""


class Moment:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Lines(io.StringIO):
    """A stream that says when something has been written."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if "more like it" in self.getvalue():
            self.told.set()
        return written


@pytest.fixture
def clock() -> Moment:
    return Moment()


@pytest.fixture
def stream() -> Lines:
    return Lines()


@pytest.fixture
def handler(clock: Moment, stream: Lines) -> Iterator[LogHandler]:
    made = LogHandler(stream, Repeats(clock))
    yield made
    made.close()


def warn(handler: LogHandler, message: str) -> None:
    handler.handle(logging.LogRecord("gateway.part", logging.WARNING, "file", 1, message, (), None))


def test_a_thousand_equal_warnings_are_two_lines(handler: LogHandler, clock: Moment, stream: Lines) -> None:
    for _ in range(1_000):
        warn(handler, "a")
    assert stream.getvalue() == "a\n"
    clock.now += 60
    warn(handler, "b")
    assert stream.getvalue() == "a\na ... (and 998 more like it)\nb\n"


def test_the_number_is_told_when_nothing_else_happens(handler: LogHandler, clock: Moment, stream: Lines) -> None:
    warn(handler, "a")
    clock.now = 59.99
    warn(handler, "a")
    warn(handler, "a")
    clock.now = 60.0
    assert stream.told.wait(60)
    assert stream.getvalue() == "a\na ... (and 1 more like it)\n"


def test_the_number_is_told_at_the_end(stream: Lines) -> None:
    handler = LogHandler(stream)
    warn(handler, "a")
    warn(handler, "a")
    warn(handler, "a")
    handler.close()
    assert stream.getvalue() == "a\na ... (and 1 more like it)\n"
    handler.close()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_process_tells_at_its_end(form: str) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True)
    first, info, last = ended.stderr.splitlines()
    if form == "json":
        first, info, last = (json.loads(line) for line in (first, info, last))
        assert (first["message"], first["run_id"], first["process"]) == ("run 0 failed", "r0", "worker")
        assert (info["level"], info["message"]) == ("info", "end")
        assert (last["message"], last["repeats"]) == ("run 999 failed ... (and 998 more like it)", 999)
    else:
        assert first.endswith(": run 0 failed run_id=r0")
        assert last.endswith(": run 999 failed ... (and 998 more like it) run_id=r999")
