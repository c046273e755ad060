"""The gateway under attack: a process of its own, watched from outside while it is attacked."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import LOAD_CORE, PROJECT, SERVER_CORE

START_PATIENCE: Final = 60.0
STOP_PATIENCE: Final = 60.0
"""Seconds after which a gateway counts as one that does not start, or stop."""

SAMPLE_SECONDS: Final = 0.02
"""How often the memory is looked at."""

_ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'generated'}"}


class Target:
    """A running gateway. `ready_seconds` is how long it took until it was ready."""

    def __init__(self, flags: Sequence[str], environment: dict[str, str] | None = None) -> None:
        begun = time.monotonic()
        command = "from gateway.cli import main; main()"
        addresses = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
        self._process = subprocess.Popen(
            [sys.executable, "-c", command, "serve", "--json", *addresses, *flags],
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            env={**_ENVIRONMENT, **(environment or {})},
            text=True,
        )
        os.sched_setaffinity(self._process.pid, {SERVER_CORE})
        hurry = threading.Timer(START_PATIENCE, self._process.kill)
        hurry.start()
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline() or "{}")
        hurry.cancel()
        self.ready_seconds = time.monotonic() - begun
        self.grpc, self.http = str(ready.get("grpc", "")), str(ready.get("http", "")).removeprefix("http://")
        self.alive = bool(ready)

    def resident(self) -> int:
        """The memory of the gateway and of its worker processes, in bytes."""
        return sum(map(_resident, (self._process.pid, *_children(self._process.pid))))

    @contextmanager
    def sampled(self) -> Iterator[list[int]]:
        """Look at the memory again and again; the list has what was seen."""
        seen = [self.resident()]
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(SAMPLE_SECONDS):
                seen.append(self.resident())

        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        try:
            yield seen
        finally:
            ended.set()
            sampler.join()

    def stop(self) -> float:
        """Send SIGTERM, wait for the end, and return how long it took, in seconds."""
        begun = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - begun

    def kill(self) -> None:
        """End the gateway at once."""
        self._process.kill()
        self._process.wait()


@contextmanager
def probing(target: Target) -> Iterator[dict[str, Any]]:
    """Probe the gateway from a process of its own; the figures are there when the block has been left."""
    figures: dict[str, Any] = {}
    probe = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.abuse.probe", target.http],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        env=_ENVIRONMENT,
        text=True,
    )
    os.sched_setaffinity(probe.pid, {LOAD_CORE})
    try:
        yield figures
    finally:
        out, _ = probe.communicate("end\n", timeout=60)
        figures.update(json.loads(out))


def attack(name: str, target: Target, seconds: float, *arguments: str) -> str:
    """Run an attack in a process of its own and return the line that it prints about itself."""
    command = [sys.executable, "-m", "benchmarks.abuse.attack", name, target.grpc, target.http, str(seconds)]
    attacker = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, cwd=PROJECT, env=_ENVIRONMENT, text=True
    )
    os.sched_setaffinity(attacker.pid, {LOAD_CORE})
    # The probe is not to wait for the attacker.
    os.setpriority(os.PRIO_PROCESS, attacker.pid, 15)
    try:
        out, _ = attacker.communicate(timeout=seconds + 60)
    except subprocess.TimeoutExpired:
        attacker.kill()
        out, _ = attacker.communicate()
        return "did not end"
    return (out.strip().splitlines() or ["failed"])[-1]


def _resident(pid: int) -> int:
    try:
        match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
