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

STREAMS_PER_CONNECTION: Final = 100
SETTLE: Final = 1.0
"""Seconds of load before the measurement begins."""

GET_RUN, WATCH_RUNS, SUBMIT_RUN = (f"/runs.v1.RunsService/{method}" for method in ("GetRun", "WatchRuns", "SubmitRun"))

CHANGED_AT: Final = {GET_RUN: "1,7", WATCH_RUNS: "2,1,7"}
"""The field numbers that lead to `created_at` in a message, the time of the run's last change."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A measurement that went wrong."""


def join_the_load() -> None:
    """Keep this program off the core of the servers. Raises Failure if there is only one core."""
    if SERVER_CORE == LOAD_CORE:
        raise Failure("two cores are needed, one for the server and one for the load")
    os.sched_setaffinity(0, {LOAD_CORE})


class Server:
    """A server process, pinned to its core. Its first line of output has its addresses."""

    def __init__(self, *arguments: str) -> None:
        self._process = _python(*arguments)
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
        """Return the processor time that the server has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

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


@contextmanager
def server(module: str, *arguments: str) -> Iterator[Server]:
    """Run a server of this package."""
    with _serving("-m", module, *arguments) as running:
        yield running


@contextmanager
def gateway(state: str, *flags: str) -> Iterator[Server]:
    """Run the gateway itself, on a state file or `:memory:`."""
    command = "from gateway.cli import main; main()"
    addresses = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
    with _serving("-c", command, "serve", "--json", "--state", state, *addresses, *flags) as running:
        yield running


@contextmanager
def _serving(*arguments: str) -> Iterator[Server]:
    running = Server(*arguments)
    try:
        yield running
    finally:
        running.close()


def told(module: str, *arguments: str) -> dict[str, Any]:
    """Run a program of this package on the core of the servers, and return its line of output."""
    with _python("-m", module, *arguments) as process:
        return _line_of(process)


def _python(*arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'generated'}"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=pipe, stdout=pipe, cwd=PROJECT, env=environment, text=True
    )
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    return process


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
            body = b"".join(_framed(message.SerializeToString()) for message in messages)
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


class Unary(NamedTuple):
    """The measurements of a load of unary calls."""

    calls_per_s: float
    cpu_us_per_call: float
    mean_ms: float


CONNECTIONS: Final = 8
IN_FLIGHT: Final = 64
"""The number of unary calls that are open at the same time, over all connections."""


def unary(server: Server, path: str, request: Message, response: Message, *, seconds: float) -> Unary:
    """Call a method of gRPC again and again; `response` is the expected answer.

    Raises Failure if calls fail: h2load does not read the status of gRPC, but a call that fails has no message.
    """
    headers = ["-p", "h2c", "-H", "content-type: application/grpc", "-H", "te: trailers"]
    shape = ["-c", str(CONNECTIONS), "-m", str(IN_FLIGHT // CONNECTIONS), f"http://{server.grpc}{path}"]
    body = _framed(request.SerializeToString())
    return _calls(server, [*headers, *shape], body, response.ByteSize() + 5, seconds)


def unary_http(server: Server, body: bytes, response: bytes, *, seconds: float) -> Unary:
    """Call JSON-RPC over HTTP again and again; `response` is the expected answer. Raises Failure if calls fail."""
    command = ["--h1", "-H", "content-type: application/json", "-c", str(IN_FLIGHT), f"http://{server.http}/"]
    return _calls(server, command, body, len(response), seconds)


def _calls(server: Server, arguments: list[str], content: bytes, expected: int, seconds: float) -> Unary:
    with tempfile.NamedTemporaryFile() as body:
        body.write(content)
        body.flush()
        command = ["h2load", *arguments, "-d", body.name, "-D"]
        _h2load([*command, f"{SETTLE * 1000:.0f}ms"])
        cpu, begun = server.cpu_seconds(), time.monotonic()
        report = _h2load([*command, f"{seconds * 1000:.0f}ms"])
        cpu, lasted = server.cpu_seconds() - cpu, time.monotonic() - begun
    calls = int(_found(r"(\d+) succeeded", report))
    data = int(_found(r"\((\d+)\) data", report))
    # Times differ by some bytes from message to message.
    if data < calls * (expected - 16):
        raise Failure(f"{calls} calls brought {data} bytes of messages")
    rate = float(_found(r"([\d.]+) req/s", report))
    return Unary(
        rate, cpu / lasted / rate * 1e6, _milliseconds(_found(r"time for request:\s+\S+\s+\S+\s+(\S+)", report))
    )


def _h2load(command: list[str]) -> str:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(process.pid, {LOAD_CORE})
    output, _ = process.communicate(timeout=60)
    return output


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise Failure(f"h2load reported no {pattern!r}:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def _framed(message: bytes) -> bytes:
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
