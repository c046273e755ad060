"""Servers on one core, load on the other, and the measurements of both."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

PROJECT: Final = Path(__file__).parents[1]
BINARIES: Final = PROJECT / ".cache" / "benchmarks"
FOLLOW, POLL = BINARIES / "follow", BINARIES / "poll"

SERVER_CORE, LOAD_CORE = (sorted(os.sched_getaffinity(0)) * 2)[:2]

ITS_CORE: Final = frozenset({SERVER_CORE})
BOTH_CORES: Final = frozenset({SERVER_CORE, LOAD_CORE})
"""The cores of a server that is one process, and of one with workers, which shares the other one with the load."""

STREAMS_PER_CONNECTION: Final = 100
SETTLE: Final = 1.0
"""Seconds of load before the measurement begins."""

GET_RUN, WATCH_RUNS, SUBMIT_RUN = (f"/runs.v1.RunsService/{method}" for method in ("GetRun", "WatchRuns", "SubmitRun"))

CHANGED_AT: Final = {GET_RUN: "1,7", WATCH_RUNS: "2,1,7"}
"""The field numbers that lead to `created_at` in a message, the time of the run's last change."""

_PROCESS_CLOCK: Final = 2
"""What makes a clock's number of that of a process: see clock_getcpuclockid(3)."""


class Failure(Exception):
    """A measurement that went wrong."""


def join_the_load() -> None:
    """Keep this program off the core of the servers. Raises Failure if there is only one core."""
    if SERVER_CORE == LOAD_CORE:
        raise Failure("two cores are needed, one for the server and one for the load")
    os.sched_setaffinity(0, {LOAD_CORE})


class Server:
    """A server process, pinned to its cores. Its first line of output has its addresses."""

    def __init__(self, *arguments: str, cores: frozenset[int]) -> None:
        self._process = _python(*arguments, cores=cores)
        addresses = _line_of(self._process)
        self.grpc = str(addresses["grpc"])
        self.http = str(addresses.get("http", "")).removeprefix("http://")

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def command(self, **members: Any) -> dict[str, Any]:
        """Send the server a command and return its statistics; see `benchmarks.control`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(members) + "\n")
        self._process.stdin.flush()
        return _line_of(self._process)

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has used, in seconds, without that of its workers."""
        return cpu_seconds(self.pid)

    def cpu_seconds_of_all(self) -> float:
        """Return the processor time of the server and its workers."""
        workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(map(cpu_seconds, [self.pid, *map(int, workers)]))

    def memory(self, what: str = "VmRSS") -> int:
        """Return the memory of the server in bytes: the present one, or with VmHWM the peak."""
        match = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert match is not None
        return int(match[1]) * 1024

    def forget_peak(self) -> None:
        """Reset VmHWM."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def server(module: str, *arguments: str, cores: frozenset[int] = ITS_CORE) -> Iterator[Server]:
    """Run a server of this package."""
    with _serving("-m", module, *arguments, cores=cores) as running:
        yield running


@contextmanager
def gateway(state: str, *flags: str, cores: frozenset[int] = ITS_CORE, before: str = "") -> Iterator[Server]:
    """Run the gateway itself, on a state file, `:memory:` or none; `before` has statements that prepare its process."""
    command = f"{before}from gateway.cli import main; main()"
    addresses = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0")
    # The lines of calls are measured by `benchmarks.observed`, and nobody reads them here.
    quiet = () if before else ("--log-level", "warning")
    states = ("--state", state) if state else ()
    arguments = ("serve", "--json", *states, *addresses, *quiet, *flags)
    with _serving("-c", command, *arguments, cores=cores) as running:
        yield running


@contextmanager
def _serving(*arguments: str, cores: frozenset[int]) -> Iterator[Server]:
    running = Server(*arguments, cores=cores)
    try:
        yield running
    finally:
        running.close()


def told(module: str, *arguments: str) -> dict[str, Any]:
    """Run a program of this package on the core of the servers, and return its line of output."""
    with _python("-m", module, *arguments, cores=ITS_CORE) as process:
        return _line_of(process)


def _python(*arguments: str, cores: frozenset[int]) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=pipe, stdout=pipe, cwd=PROJECT, env=environment(), text=True
    )
    os.sched_setaffinity(process.pid, cores)
    return process


def environment() -> dict[str, str]:
    """Return the environment of the programs that are measured."""
    return {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'generated'}"}


def cpu_seconds(pid: int) -> float:
    """Return the time of the processor clock of a process, which is finer than the ticks of its `stat`."""
    return time.clock_gettime(~pid << 3 | _PROCESS_CLOCK)


class Load:
    """A load client, pinned to its core."""

    def __init__(self, *command: str | Path) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(self._process.pid, {LOAD_CORE})

    def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event and return it. Raises Failure if it is not the one with this name."""
        line = _line_of(self._process)
        if line["event"] != name:
            raise Failure(f"the load client told {line} instead of {name}")
        return line

    def kill(self) -> None:
        """End the load client at once, with its streams open."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the load client."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


class Streaming(NamedTuple):
    """The measurements of a load of streams or polls, and the processor time and memory of the server."""

    opened: dict[str, Any]
    end: dict[str, Any]
    cpu_seconds: float
    grown: int
    """The growth of the server's memory during the measurement, in bytes."""

    @property
    def rate(self) -> float:
        """Messages a second."""
        return float(self.end["messages"] / self.end["seconds"])

    def metrics(self) -> dict[str, float]:
        """Return the metrics that the tables show."""
        messages = max(self.end["messages"], 1)
        return {
            "messages_per_s": self.rate,
            "cpu_us_per_message": self.cpu_seconds / messages * 1e6,
            "cpu_share": self.cpu_seconds / self.end["seconds"],
            "age_p50_ms": self.end["age_ms"]["p50"],
            "age_p99_ms": self.end["age_ms"]["p99"],
            "load_cpu_share": self.end["cpu_seconds"] / self.end["seconds"],
        }


@contextmanager
def follow(
    server: Server,
    requests: Sequence[Sequence[Message]],
    streams: int,
    *,
    path: str = GET_RUN,
    stalled: int = 0,
    seconds: float = 0.0,
    first: int = 1,
) -> Iterator[Load]:
    """Open streams: number i sends the messages of request i, modulo their number, and closes its side.

    They count as open when each has received its `first` messages.
    """
    with tempfile.NamedTemporaryFile() as file:
        for messages in requests:
            body = b"".join(framed(message.SerializeToString()) for message in messages)
            file.write(len(body).to_bytes(4, "little") + body)
        file.flush()
        command: list[str | Path] = [
            FOLLOW,
            "--port",
            server.grpc.rpartition(":")[2],
            "--path",
            path,
            "--requests",
            file.name,
        ]
        numbers = {
            "streams": streams,
            "connections": max(1, streams // STREAMS_PER_CONNECTION),
            "stalled": stalled,
            "first": first,
            "seconds": seconds,
            "settle": SETTLE,
        }
        flags = [text for name, number in numbers.items() for text in (f"--{name}", str(number))]
        load = Load(*command, "--age", CHANGED_AT[path], *flags)
        try:
            yield load
        finally:
            load.close()


def streamed(load: Load, server: Server, rate: float) -> Streaming:
    """Measure a load at `rate` changes a second, which begin when all streams are open. Raises Failure if one ends."""
    opened = load.event("open")
    server.command(rate=rate)
    load.event("start")
    cpu, memory = server.cpu_seconds(), server.memory()
    end = load.event("end")
    measured = Streaming(opened, end, server.cpu_seconds() - cpu, server.memory() - memory)
    if end["failed"]:
        raise Failure(f"{end['failed']} calls failed")
    return measured


@contextmanager
def poll(server: Server, body: str, pollers: int, *, interval: float, seconds: float) -> Iterator[Load]:
    """Poll a JSON-RPC method from `pollers` connections, each every `interval` seconds."""
    port = server.http.rpartition(":")[2]
    flags = ["--pollers", str(pollers), "--interval", str(interval), "--settle", str(SETTLE), "--seconds", str(seconds)]
    load = Load(POLL, "--port", port, "--body", body, *flags)
    try:
        yield load
    finally:
        load.close()


def framed(message: bytes) -> bytes:
    """Return a message as gRPC sends it: a flag (not compressed), its length, and the message."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _line_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return the next line of output of a process, a JSON object. Raises Failure if the process has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise Failure(f"{process.args!r} ended with {process.wait()}")
    answer: dict[str, Any] = json.loads(line)
    return answer
