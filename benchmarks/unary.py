"""Unary calls by h2load: many in flight, or one after the other."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, quantiles
from typing import Final, NamedTuple

from google.protobuf.message import Message

from benchmarks.measure import LOAD_CORE, SETTLE, Failure, Server, framed

CONNECTIONS: Final = 8
IN_FLIGHT: Final = 64
"""The number of unary calls that are open at the same time, over all connections."""


class Calls(NamedTuple):
    """Calls of one method, again and again."""

    flags: Sequence[str]
    """What h2load is told: the protocol, the headers and the URL."""
    body: bytes
    expected: int
    """The bytes of an answer."""
    in_flight: Sequence[str]
    """What h2load is told to have IN_FLIGHT calls open."""


def grpc_calls(server: Server, path: str, request: Message, response: Message) -> Calls:
    """Return the calls of a method of gRPC; `response` is the expected answer."""
    headers = ("-p", "h2c", "-H", "content-type: application/grpc", "-H", "te: trailers")
    in_flight = ("-c", str(CONNECTIONS), "-m", str(IN_FLIGHT // CONNECTIONS))
    body = framed(request.SerializeToString())
    return Calls((*headers, f"http://{server.grpc}{path}"), body, response.ByteSize() + 5, in_flight)


def http_calls(server: Server, body: bytes, response: bytes) -> Calls:
    """Return the calls of a method of JSON-RPC over HTTP; `response` is the expected answer."""
    flags = ("--h1", "-H", "content-type: application/json", f"http://{server.http}/")
    return Calls(flags, body, len(response), ("-c", str(IN_FLIGHT)))


class Unary(NamedTuple):
    """The measurements of many calls in flight. The processor time is that of the server and its workers."""

    calls_per_s: float
    cpu_us_per_call: float
    mean_ms: float
    parent_us_per_call: float
    """The processor time of the server without its workers."""


def many(server: Server, calls: Calls, seconds: float) -> Unary:
    """Make calls, IN_FLIGHT at a time. Raises Failure if calls fail."""
    with _h2load(calls, calls.in_flight) as load:
        load(SETTLE)
        cpu, parent, begun = server.cpu_seconds_of_all(), server.cpu_seconds(), time.monotonic()
        report = load(seconds)
        cpu, parent = server.cpu_seconds_of_all() - cpu, server.cpu_seconds() - parent
        lasted = time.monotonic() - begun
    rate = float(_found(r"([\d.]+) req/s", report))
    mean = _milliseconds(_found(r"time for request:\s+\S+\s+\S+\s+(\S+)", report))
    return Unary(rate, cpu / lasted / rate * 1e6, mean, parent / lasted / rate * 1e6)


class Single(NamedTuple):
    """The times of single calls, in microseconds."""

    mean_us: float
    p50_us: float
    p99_us: float


def single(server: Server, calls: Calls, seconds: float) -> Single:
    """Make one call after the other, on one connection. Raises Failure if calls fail."""
    with tempfile.NamedTemporaryFile("r") as log, _h2load(calls, ("-c", "1", "-m", "1")) as load:
        load(SETTLE)
        load(seconds, "--log-file", log.name)
        times = [int(line.split()[2]) for line in log]
    hundredths = quantiles(times, n=100)
    return Single(fmean(times), hundredths[49], hundredths[98])


class _H2load:
    """h2load with its flags; each call runs it once for so many seconds, and returns its report."""

    def __init__(self, calls: Calls, shape: Sequence[str], body: str) -> None:
        self._command = ["h2load", *calls.flags, *shape, "-d", body]
        self._expected = calls.expected

    def __call__(self, seconds: float, *flags: str) -> str:
        command = [*self._command, *flags, "-D", f"{seconds * 1000:.0f}ms"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(process.pid, {LOAD_CORE})
        report, _ = process.communicate(timeout=60)
        done = int(_found(r"(\d+) succeeded", report))
        data = int(_found(r"\((\d+)\) data", report))
        # Times differ by some bytes from message to message. h2load does not read the status of gRPC, but a call that
        # fails has no message.
        if not done or data < done * (self._expected - 16):
            raise Failure(f"{done} calls brought {data} bytes of messages")
        return report


@contextmanager
def _h2load(calls: Calls, shape: Sequence[str]) -> Iterator[_H2load]:
    with tempfile.NamedTemporaryFile() as body:
        Path(body.name).write_bytes(calls.body)
        yield _H2load(calls, shape, body.name)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise Failure(f"h2load reported no {pattern!r}:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
