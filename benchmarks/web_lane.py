"""Connect and gRPC-Web against gRPC and JSON-RPC, on one server: `python -m benchmarks.web_lane [SECONDS]`.

Submits that wait, many in flight, and streams of many short messages. What a machine does besides changes the rates
more than the processor time that the server takes for each call or message.
"""

import asyncio
import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc
from google.protobuf import json_format

from benchmarks import measure, unary
from benchmarks.measure import SUBMIT_RUN, WATCH_RUNS, Failure, Server, framed
from benchmarks.sample import INPUT, run_id
from benchmarks.scenarios import MEMORY, put_flow, submit, submit_request
from benchmarks.submits import http_submit_calls
from benchmarks.unary import IN_FLIGHT, Calls
from runs.v1 import runs_pb2

MESSAGES: Final = 20_000
FORMS: Final = {
    "Connect, JSON": "application/json",
    "Connect, proto": "application/proto",
    "gRPC-Web": "application/grpc-web+proto",
}
STREAM_FORMS: Final = {
    "Connect, JSON": "application/connect+json",
    "Connect, proto": "application/connect+proto",
    "gRPC-Web": "application/grpc-web+proto",
}


def main() -> None:
    """Measure, and print a table."""
    measure.join_the_load()
    seconds = float(sys.argv[1]) if sys.argv[1:] else 5.0
    with measure.gateway(MEMORY, cores=measure.ITS_CORE) as server:
        for name, calls in submits(server):
            measured = unary.many(server, calls, seconds)
            tell(f"submit, {name}", measured.calls_per_s, measured.cpu_us_per_call)
        for name, stream in streams(server):
            stream()
            cpu = server.cpu_seconds()
            rate = stream()
            tell(f"stream, {name}", rate, (server.cpu_seconds() - cpu) / MESSAGES * 1e6)


def tell(name: str, rate: float, cpu: float) -> None:
    """Write a line of the table."""
    sys.stdout.write(f"{name:24} {rate:9,.0f} /s {cpu:7.0f} us of the server\n")
    sys.stdout.flush()


def submits(server: Server) -> Iterator[tuple[str, Calls]]:
    """The calls that submit a run and wait for it."""
    flow_id = put_flow(server)
    request = submit_request(flow_id)
    response = submit(server, request)
    yield "gRPC", unary.grpc_calls(server, SUBMIT_RUN, request, response)
    yield "JSON-RPC", http_submit_calls(server, flow_id)
    for name, kind in FORMS.items():
        body = (
            json_format.MessageToJson(request, indent=None).encode() if "json" in kind else request.SerializeToString()
        )
        body = framed(body) if "grpc" in kind else body
        status, answer = posted(server, SUBMIT_RUN, kind, body)
        if status != 200 or len(answer) < len(INPUT):
            raise Failure(f"not the result that was expected: {answer!r}")
        flags = ("--h1", "-H", f"content-type: {kind}", f"http://{server.http}{SUBMIT_RUN}")
        yield name, Calls(flags, body, len(answer), ("-c", str(IN_FLIGHT)))


def streams(server: Server) -> Iterator[tuple[str, Callable[[], float]]]:
    """Streams of MESSAGES in both directions; each returns how many came in a second."""
    requests = [runs_pb2.WatchRunsRequest(remove=run_id(number)) for number in range(MESSAGES)]
    yield "gRPC", lambda: asyncio.run(_grpc_stream(server, requests))
    for name, kind in STREAM_FORMS.items():
        bodies = (
            json.dumps({"remove": each.remove}).encode() if "json" in kind else each.SerializeToString()
            for each in requests
        )
        body = b"".join(map(framed, bodies))
        yield name, lambda kind=kind, body=body: _http_stream(server, kind, body)  # type: ignore[misc]


async def _grpc_stream(server: Server, requests: list[runs_pb2.WatchRunsRequest]) -> float:
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        method: Any = channel.stream_stream(WATCH_RUNS, request_serializer=runs_pb2.WatchRunsRequest.SerializeToString)
        begun = time.monotonic()
        number = 0
        async for _ in method(iter(requests)):
            number += 1
        return _rate(number, time.monotonic() - begun)


def _http_stream(server: Server, kind: str, body: bytes) -> float:
    begun = time.monotonic()
    _, answer = posted(server, WATCH_RUNS, kind, body)
    took = time.monotonic() - begun
    number = place = 0
    while place < len(answer):
        place += 5 + int.from_bytes(answer[place + 1 : place + 5], "big")
        number += 1
    return _rate(number - 1, took)


def _rate(number: int, seconds: float) -> float:
    if number != MESSAGES:
        raise Failure(f"{number} messages came, not {MESSAGES}")
    return number / seconds


def posted(server: Server, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
    """The status and the body of the answer to a POST."""
    connection = http.client.HTTPConnection(server.http)
    try:
        connection.request("POST", path, body, {"content-type": kind})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


if __name__ == "__main__":
    main()
