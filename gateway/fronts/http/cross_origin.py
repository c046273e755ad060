"""What the front tells browsers about pages of other sites that may call it (CORS).

Only pages of origins that were allowed are told anything. An origin that is named may show credentials of the browser,
such as a certificate of TLS; where any may call (`*`), none may. Tokens are no such credentials: a page sends its own.
"""

from collections.abc import Collection
from typing import Final

from aiohttp import hdrs

from gateway.core.owner import NAMESPACE_KEY
from gateway.core.page_origins import ANY_ORIGIN
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import SERVER, HttpResponse, header_lines
from gateway.telemetry.propagation import carried_fields

_SENT: Final = (
    "authorization", "content-type", "content-encoding", "last-event-id", NAMESPACE_KEY,
    "connect-protocol-version", "connect-timeout-ms", "connect-content-encoding", "connect-accept-encoding",
    "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "x-grpc-web", "x-user-agent",
)  # fmt: skip
"""The headers that pages may send, besides those that carry traces and those that any page may."""

_EXPOSED: Final = (
    "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-retry-pushback-ms", "grpc-encoding",
    "connect-content-encoding", "content-encoding", "retry-after", "www-authenticate", "allow",
)  # fmt: skip
"""The headers of answers that pages may read, besides those that any page may."""

_METHODS: Final = "GET, HEAD, POST"
_SECONDS: Final = 7_200
"""How long browsers remember what pages may send: Chromium does not do so for longer."""

_EXPOSES: Final = {"Access-Control-Expose-Headers": ", ".join(_EXPOSED)}
_VARIES: Final = header_lines({"Vary": "Origin"})
_OF_ANY: Final = header_lines({"Access-Control-Allow-Origin": ANY_ORIGIN, **_EXPOSES})


class CrossOrigin:
    """Tells pages of the origins that are `allowed`: exact ones, or `*` for any."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._of_others = _OF_ANY if ANY_ORIGIN in allowed else _VARIES if allowed else b""
        self._of_allowed = {} if ANY_ORIGIN in allowed else {origin: _lines_for(origin) for origin in allowed}
        self._any = ANY_ORIGIN in allowed

    def allows(self, origin: str) -> bool:
        """Whether pages of an origin may call."""
        return self._any or origin in self._of_allowed

    def lines(self, request: HttpRequest) -> bytes:
        """The headers that the answer to a request has, whatever it is."""
        if not self._of_allowed or hdrs.ORIGIN not in request.headers:
            return self._of_others
        origins = request.headers.getall(hdrs.ORIGIN)
        return self.lines_for(origins[0]) if len(origins) == 1 else self._of_others

    def lines_for(self, origin: str) -> bytes:
        """The headers that an answer to a page of an origin has; "" is an origin that is not known."""
        return self._of_allowed.get(origin, self._of_others)

    def preflight(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to a browser that asks what a page may send; None if the request is something else."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        if not self.allows(request.headers.get(hdrs.ORIGIN, "")):
            return None
        headers = {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": ", ".join([*_SENT, *sorted(carried_fields())]),
            "Access-Control-Max-Age": str(_SECONDS),
            "Server": SERVER,
        }
        return HttpResponse(b"", header_lines(headers), 204)


def _lines_for(origin: str) -> bytes:
    allows = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
    return header_lines({**allows, **_EXPOSES}) + _VARIES
