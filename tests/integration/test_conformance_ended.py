"""`runs-gateway conformance` that a signal ends: nothing of it goes on, and its report is whole."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gateway.testing import in_memory_gateway
from tests.support.background_process import LONG, BackgroundProcess, has_ended
from tests.support.command_line import PROGRAM
from tests.support.session import coverage_settings

FIRST, HELD = "get/each-result-comes-once", "elsewhere/a-restart-is-a-cut"


class EndedKit:
    """A kit that holds a run open, while the command that is to restart the target goes on."""

    def __init__(self, folder: Path, target: str) -> None:
        self.report = folder / "report.xml"
        self._blocking = BackgroundProcess(folder)
        command = [PROGRAM, "conformance", "--target", target, "--junit", str(self.report), "--patience", f"{LONG}s"]
        command += ["--only", FIRST, "--only", HELD]
        command += ["--restart", f"{self._blocking.starts_it} wait"]
        environment = {"PATH": os.defpath, "HOME": str(folder), **coverage_settings()}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._blocked = self._blocking.started()

    def end(self, *signals: signal.Signals) -> tuple[str, str]:
        """Send signals, and return what it has printed."""
        for each in signals:
            self.process.send_signal(each)
        printed = self.process.communicate()
        assert has_ended(self._blocked, LONG)
        return printed

    def close(self) -> None:
        self.process.kill()
        if not has_ended(self._blocked, 0.0):
            signal.pidfd_send_signal(self._blocked, signal.SIGKILL)
        self.process.communicate()
        os.close(self._blocked)


@contextmanager
def ended_kit(folder: Path, target: str) -> Iterator[EndedKit]:
    kit = EndedKit(folder, target)
    try:
        yield kit
    finally:
        kit.close()


@pytest.mark.parametrize(
    ("signals", "code"),
    [((signal.SIGINT,), 130), ((signal.SIGTERM, signal.SIGTERM), 143), ((signal.SIGINT, signal.SIGTERM), 130)],
)
def test_its_runs_are_gone(tmp_path: Path, signals: tuple[signal.Signals, ...], code: int) -> None:
    with (
        in_memory_gateway() as gateway,
        gateway.client() as client,
        ended_kit(tmp_path, gateway.address) as kit,
    ):
        assert not all(run.status.terminal for run in client.runs())
        out, err = kit.end(*signals)
        assert (kit.process.returncode, err) == (code, "")
        assert list(client.runs()) == []
    assert out == f"kept       {FIRST}\n2 promises: 1 kept, 0 broken, 1 not tried\n"
    [first, held] = ElementTree.parse(kit.report).getroot().iter("testcase")
    assert (list(first), [each.get("message") for each in held]) == ([], [f"{signals[0].name} has ended the kit"])


def test_what_may_be_left_is_told(tmp_path: Path) -> None:
    with in_memory_gateway() as gateway:
        kit = EndedKit(tmp_path, gateway.address)
    try:
        # The target has gone, and is not back within the time that the kit has.
        _, err = kit.end(signal.SIGINT)
        assert kit.process.returncode == 130
        told = "error: runs of the kit may be left: runs-gateway delete --cancel --label runs-gateway-conformance="
        assert err.startswith(told)
        assert err.count("\n") == 1
    finally:
        kit.close()
