"""Raw bytes to the HTTP front: every answer is whole and no defect, and the front serves others afterwards."""

import asyncio
import gzip
import re
import zlib
from typing import Final

from hypothesis import strategies as st

from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.services import RunsServices
from tests.fuzz.serving import Renewed, ServedRuns

_LIMIT: Final = 64 << 10
_HEALTH: Final = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_STATUS: Final = re.compile(rb"HTTP/[0-9][.][0-9] ([0-9]{3}) ")


class Served(ServedRuns):
    """A front over a gateway in memory."""

    async def start(self) -> None:
        await super().start()
        self.front = HttpFront(
            JsonRpcMethods(RunsServices(self.service)),
            "127.0.0.1:0",
            limits=HttpLimits(body=_LIMIT),
        )
        await self.front.start()

    async def close(self) -> None:
        await self.front.stop(0)
        await super().close()


GATEWAY: Final = Renewed(Served)

_BODIES: Final = st.sampled_from(
    (
        b"",
        b"{}",
        b'{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{"runId":"x"}}',
        b"[",
        b"\xff",
        gzip.compress(b"{}"),
        zlib.compress(bytes(99)),
        b"\x28\xb5\x2f\xfd\x04\x00",
    )
) | st.binary(max_size=16)
_HEADERS: Final = st.sampled_from(
    (
        b"Host: localhost",
        b"Content-Type: application/json",
        b"Content-Type: application/octet-stream",
        b"Accept: text/event-stream",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Content-Encoding: gzip",
        b"Content-Encoding: zstd",
        b"Accept-Encoding: zstd, gzip",
        b"Content-Type: application/json-rpc",
        b"Connection: close",
        b"Connection: upgrade",
        b"Upgrade: websocket",
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
        b" folded",
        b"X: \x00",
        b"Last-Event-ID: x",
    )
)
_REQUESTS: Final = st.builds(
    lambda line, headers, end, body, counted: b"\r\n".join(
        (line, *headers, *([b"Content-Length: %d" % len(body)] if counted else []), end, body)
    ),
    st.builds(
        lambda method, path, version: b"%b %b HTTP/%b" % (method, path, version),
        st.sampled_from((b"GET", b"POST", b"HEAD", b"PUT", b"post", b"CONNECT", b"PRI", b"")),
        st.sampled_from((b"/", b"/health", b"/api/v1/blobs", b"/api/v1/blobs/x", b"*", b"http://x/", b"/%00", b"")),
        st.sampled_from((b"1.1", b"1.0", b"2.0", b"0.9", b"x")),
    ),
    st.lists(_HEADERS, max_size=5),
    st.just(b"") | st.binary(max_size=4),
    _BODIES,
    st.booleans(),
)
_NO_DEFECTS: Final = frozenset({503, 505})
"""The front is full, or does not speak this version of HTTP."""

DOCUMENTS: Final[st.SearchStrategy[bytes]] = st.lists(_REQUESTS, min_size=1, max_size=3).map(b"".join)


def check(data: bytes) -> None:
    """Send the bytes and close this side; read what comes until the front closes."""
    answer, health = GATEWAY.call(lambda served: _exchange(served, data))
    statuses = [int(status) for status in _STATUS.findall(answer)]
    # The preface of HTTP/2 is longer than what looks like its head.
    assert answer or b"\r\n\r\n" not in data.lstrip(b"\r\n") or b"PRI" in data, "no answer"
    assert not answer or _STATUS.match(answer), "the answer does not begin with a status"
    assert all(status < 500 or status in _NO_DEFECTS for status in statuses), "bytes are taken for a defect"
    assert b"-32603" not in answer, "bytes are taken for a defect"
    assert health.startswith(b"HTTP/1.1 200 "), "the front does not serve others any more"


async def _exchange(served: Served, data: bytes) -> tuple[bytes, bytes]:
    return await _send(served, data, is_all=True), await _send(served, _HEALTH)


async def _send(served: Served, data: bytes, *, is_all: bool = False) -> bytes:
    """What comes back for some bytes; `is_all` closes this side after them."""
    host, _, port = served.front.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        if is_all:
            writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""  # The front has closed while bytes were under way.
    finally:
        writer.transport.abort()
