"""Calls by Connect and gRPC-Web: each gets an answer in its protocol, no defect, and its stream an end."""

import asyncio
import base64
import json
import re
from typing import Final

from hypothesis import strategies as st

from gateway.access.access import OpenAccess
from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.fronts.web.frames import frame
from gateway.fronts.web.web_lane import web_lane
from gateway.runs.services import RunsServices
from tests.fuzz.serving import FLOW_ID, Renewed, ServedRuns
from tests.fuzz.targets.web_messages import DOCUMENTS as MESSAGES

_LIMITS: Final = HttpLimits(body=64 << 10)
_HEALTH: Final = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_METHODS: Final = (
    *(f"runs.v1.RunsService/{name}" for name in ("SubmitRun", "SubmitRunStream", "GetRun", "WatchRuns", "ListRuns")),
    *(f"runs.v1.RunsService/{name}" for name in ("ListItems", "CancelRun", "CancelRuns", "DeleteRun", "DeleteRuns")),
    *(f"runs.v1.BlobsService/{name}" for name in ("PutBlob", "GetBlob", "Absent")),
)
_TYPES: Final = tuple(
    f"application/{kind}{form}"
    for kind in ("", "connect+", "grpc-web+", "grpc-web-text+")
    for form in ("json", "proto")
)
_HEADERS: Final = (
    "Connect-Protocol-Version: 1",
    "Connect-Content-Encoding: gzip",
    "Grpc-Encoding: gzip",
    "Content-Encoding: gzip",
    "Accept-Encoding: gzip",
    "Connect-Accept-Encoding: zstd",
    "Grpc-Accept-Encoding: gzip",
)
_HEAD: Final = re.compile(rb"[!-~]+(?: [!-~]+)?(?:\t[A-Za-z-]+: [ -~]*){0,4}")
_ANSWER: Final = re.compile(rb"HTTP/1[.]1 ([0-9]{3}) ")
_NO_DEFECTS: Final = frozenset({501, 503, 504})
"""There is no such method, the front is full, or the time of a call has passed."""

_BODIES: Final = st.one_of(
    MESSAGES.map(lambda document: document[1:]),
    st.just(json.dumps({"flowId": FLOW_ID, "inputs": [{"json": "1"}]}).encode()),
    st.binary(max_size=24),
)
_FRAMED: Final = st.lists(st.builds(frame, _BODIES, st.sampled_from((0, 0, 0, 1, 2, 128))), max_size=3).map(b"".join)


class Served(ServedRuns):
    """Both fronts over a gateway in memory, of which that of HTTP listens."""

    async def start(self) -> None:
        await super().start()
        services, access, account = RunsServices(self.service), OpenAccess(), MemoryAccount()
        grpc = GrpcFront(services, "127.0.0.1:0", access=access, account=account)
        lane = web_lane(grpc, access, _LIMITS)
        self.front = HttpFront(
            JsonRpcMethods(services, access=access),
            "127.0.0.1:0",
            access=access,
            account=account,
            limits=_LIMITS,
            lane=lane,
        )
        await self.front.start()

    async def close(self) -> None:
        await self.front.stop(0)
        await super().close()


GATEWAY: Final = Renewed(Served)

DOCUMENTS: Final[st.SearchStrategy[bytes]] = st.builds(
    lambda method, kind, headers, body: "\t".join((f"{method} {kind}", *headers)).encode() + b"\n" + body,
    st.sampled_from(_METHODS),
    st.sampled_from(_TYPES),
    st.lists(st.sampled_from(_HEADERS), max_size=3),
    st.one_of(_BODIES, _FRAMED, _FRAMED.map(base64.b64encode)),
)
"""The method, the content type, and headers, in the first line; then the body."""


def check(data: bytes) -> None:
    """Make a call, and read what comes until the front closes."""
    head, _, body = data.partition(b"\n")
    if _HEAD.fullmatch(head) is None:
        return
    answer, health = GATEWAY.call(lambda served: _exchange(served, _request(head.decode(), body)))
    status = _ANSWER.match(answer)
    assert status is not None, "no answer"
    assert int(status[1]) < 500 or int(status[1]) in _NO_DEFECTS, "a call is taken for a defect"
    assert b'"code":"internal"' not in answer, "a call is taken for a defect"
    assert b"grpc-status: 13\r" not in answer, "a call is taken for a defect"
    assert health.startswith(b"HTTP/1.1 200 "), "the front does not serve others any more"


def _request(head: str, body: bytes) -> bytes:
    first, *headers = head.split("\t")
    method, _, kind = first.partition(" ")
    lines = [f"POST /{method} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}"]
    if kind:
        lines.append(f"Content-Type: {kind}")
    lines += ["Connect-Timeout-Ms: 30", "Grpc-Timeout: 30m", *headers]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


async def _exchange(served: Served, request: bytes) -> tuple[bytes, bytes]:
    return await _sent(served, request), await _sent(served, _HEALTH)


async def _sent(served: Served, request: bytes) -> bytes:
    host, _, port = served.front.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.transport.abort()
