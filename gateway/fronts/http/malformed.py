"""Requests that are no HTTP as this server speaks it: what is wrong with them, in words for clients."""

import re
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11
from aiohttp.http_exceptions import LineTooLong

from gateway.core.errors import InvalidRequest

MAX_HEADERS: Final = 128
"""How many headers a request may have."""

MAX_LINE: Final = 8_190
"""The longest path, and the longest header, in bytes."""

VERSIONS: Final = frozenset({HttpVersion10, HttpVersion11})
"""The versions of HTTP that are served."""

_OTHER: Final = "the request is malformed"
_VERSION: Final = re.compile("HTTP version|PRI/Upgrade|HTTP/2")
_REPEATED: Final = re.compile(r"Duplicate '?([A-Za-z-]+)")
_REASONS: Final = tuple(
    (re.compile(pattern), told)
    for pattern, told in (
        ("Too many headers", f"the request has more than {MAX_HEADERS} headers"),
        ("can't be present with", "the request has both a Content-Length and a Transfer-Encoding"),
        ("Content-Length", "the Content-Length is no number that a length can be"),
        ("Transfer-Encoding", "the Transfer-Encoding is another than chunked"),
        ("Missing 'Host'", "the request has no Host header"),
        ("HTTPS", "the client speaks TLS; this address serves HTTP without encryption"),
        ("chunk", "a chunk of the body is malformed"),
        ("[Mm]ethod", "the request begins with no method of HTTP"),
        ("url", "the path of the request is malformed"),
        ("version|HTTP/", "the request line does not end with HTTP/1.1"),
        ("header", "a header of the request is malformed"),
    )
)


class VersionNotSupported(InvalidRequest):
    """The request is of a version of HTTP that is not served."""

    http_status, reason = 505, "HTTP_VERSION_NOT_SUPPORTED"

    def __init__(self) -> None:
        super().__init__("this address serves HTTP/1.1 and HTTP/1.0")


def malformed(error: BaseException | None) -> InvalidRequest:
    """The error to tell for what the parser of aiohttp says about a request."""
    if isinstance(error, LineTooLong):
        return InvalidRequest(f"the path, or a header, is longer than {MAX_LINE:,} bytes")
    # What was sent follows the reason, on other lines.
    reason = str(getattr(error, "message", "")).partition(":\n\n")[0]
    if _VERSION.search(reason):
        return VersionNotSupported()
    repeated = _REPEATED.search(reason)
    if repeated is not None:
        return InvalidRequest(f"the request has more than one header {repeated[1]}")
    return InvalidRequest(next((told for pattern, told in _REASONS if pattern.search(reason)), _OTHER))
