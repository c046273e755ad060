"""How responses are written: head and body of a short one at once, and a long one as its parts come."""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion, HttpVersion11

from gateway.fronts.http.connection import ClientLeft
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import HttpResponse

_LARGE: Final = 16 << 10
"""From this size on, in bytes, a part is not copied to be written together with what is around it."""


def send_whole(request: HttpRequest, response: HttpResponse) -> None:
    """Send a response at once. Raises ClientLeft if the client has left."""
    body = response.body
    head = _head(request, response.status, response.lines, len(body))
    # To a client that has the body already, its length is told, and nothing else.
    _write(request, head if request.method == "HEAD" or response.status == HTTPStatus.NOT_MODIFIED else head + body)


class BodyWriter:
    """Sends a response whose body comes in parts; `length` is the body's, in bytes, if it is known.

    The head goes out with the first part. Writing raises ClientLeft if the client has left.
    """

    __slots__ = ("_chunked", "_head", "_request")

    def __init__(self, request: HttpRequest, lines: bytes, length: int | None) -> None:
        self._request = request
        self._chunked = length is None and request.version >= HttpVersion11
        if length is None and not self._chunked:
            request.closes = True  # Nothing else tells where the body ends.
        self._head = _head(request, 200, lines, length)

    def begin(self) -> None:
        """Write the head alone: the first part may be far away."""
        before, self._head = self._head, b""
        if before:
            _write(self._request, before)

    def write(self, part: bytes) -> None:
        """Write a part."""
        if not part:
            return
        before, self._head = self._head, b""
        after = b""
        if self._chunked:
            before, after = b"%b%x\r\n" % (before, len(part)), b"\r\n"
        if len(part) < _LARGE:
            _write(self._request, before + part + after)
            return
        for each in filter(None, (before, part, after)):
            _write(self._request, each)

    def end(self) -> None:
        """Write the end of the body."""
        if rest := self._head + (b"0\r\n\r\n" if self._chunked else b""):
            _write(self._request, rest)


def _write(request: HttpRequest, data: bytes) -> None:
    transport = request.connection.transport
    if transport is None or transport.is_closing():
        if not request.begun:
            request.status = 0
        raise ClientLeft("the client has left")
    request.begun = True
    transport.write(data)


def _head(request: HttpRequest, status: int, lines: bytes, length: int | None) -> bytes:
    """The head of a response whose body is chunked, or ends with the connection, if its length is not known."""
    request.status = status
    is_current = request.version >= HttpVersion11
    kept = b""
    if request.closes is is_current:
        kept = b"Connection: close\r\n" if is_current else b"Connection: keep-alive\r\n"
    framing = b""
    if length is not None:
        framing = b"Content-Length: %d\r\n" % length
    elif is_current:
        framing = b"Transfer-Encoding: chunked\r\n"
    return b"".join(
        (
            _status_line(request.version, status),
            lines,
            request.cross_origin,
            framing,
            _date_line(int(time.time())),
            kept,
            b"\r\n",
        )
    )


@lru_cache(maxsize=64)
def _status_line(version: HttpVersion, status: int) -> bytes:
    return f"HTTP/{version.major}.{version.minor} {status} {HTTPStatus(status).phrase}\r\n".encode()


@lru_cache(maxsize=1)
def _date_line(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
