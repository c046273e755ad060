"""Which hosts and origins the HTTP front serves.

A page of another site can let its own name lead to this machine (DNS rebinding): to a browser, the front is then a part
of that site. The header Host tells the name that the browser used. So a front that only this machine reaches by TCP
serves loopback names, and those that were allowed. Browsers do not reach unix sockets, and a front on other addresses
may have any name.

A page that calls from another site is named by the header Origin, which only browsers send. It is served if its host is
one of these names, or the host that the request was sent to, or if its origin was allowed.
"""

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final, NamedTuple

from aiohttp import hdrs

from gateway.core.errors import InvalidRequest, shortened
from gateway.fronts.http.cross_origin import CrossOrigin
from gateway.fronts.http.request import HttpRequest

_HOST: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:/@\[\]?#]+))(?::[0-9]*)?")
_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<host>[^/\s]+)")
_KNOWN: Final = 256
"""How many spellings of served hosts are remembered."""


class HostNotServed(InvalidRequest):
    """The request was sent to a name that is not served here."""

    grpc_status, http_status, reason = "PERMISSION_DENIED", 421, "HOST_NOT_SERVED"


class OriginNotAllowed(InvalidRequest):
    """The request was sent by a page of another site."""

    grpc_status, http_status, reason = "PERMISSION_DENIED", 403, "ORIGIN_NOT_ALLOWED"


def host_name(text: str) -> str | None:
    """The host in `HOST` or `HOST:PORT`, in one spelling; None if it is malformed."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    name = match["six"] or match["name"].lower().removesuffix(".")
    try:
        return str(ip_address(name))
    except ValueError:
        return None if match["six"] else name


class ServedHosts(NamedTuple):
    """What is served besides loopback names: hosts that were allowed, the gateway's `own`, and pages of `origins`.

    Whether other hosts are served depends on `allowed`, not on `own`.
    """

    allowed: Collection[str] = ()
    own: Collection[str] = ()
    origins: Collection[str] = ()


LOOPBACK: Final = ServedHosts()
"""Nothing but loopback names."""


class HostCheck:
    """Refuses requests to hosts that are not served, and from pages of other sites.

    `allowed` has the names that are served in any case, besides loopback names. Others are if `any_host`. Pages of some
    origins are served in any case, and `cross_origin` tells browsers of them.
    """

    def __init__(self, allowed: Collection[str], *, any_host: bool = False, origins: Collection[str] = ()) -> None:
        self._allowed = {host_name(name) for name in allowed}
        self._any_host = any_host
        self.cross_origin = CrossOrigin(origins)
        self._known: set[str] = set()

    def check(self, request: HttpRequest) -> None:
        """Raises HostNotServed or OriginNotAllowed."""
        headers = request.headers
        host = request.host
        if host is not None and host not in self._known and not self._any_host:
            self._check_host(host)
        if hdrs.ORIGIN in headers:
            for origin in headers.getall(hdrs.ORIGIN):
                self._check_origin(origin, host)

    def _check_host(self, host: str) -> None:
        if not self._is_served(host_name(host)):
            raise HostNotServed(
                f"nothing is served as '{_shown(host)}' here: only loopback names, and those of --allow-host"
            )
        if len(self._known) < _KNOWN:
            self._known.add(host)

    def _check_origin(self, origin: str, host: str | None) -> None:
        if self.cross_origin.allows(origin):
            return
        match = _ORIGIN.fullmatch(origin)
        name = None if match is None else host_name(match["host"])
        if name is None or not (self._is_served(name) or (host is not None and name == host_name(host))):
            raise OriginNotAllowed(
                f"pages of '{_shown(origin)}' may not call this gateway, unless --allow-origin names them"
            )

    def _is_served(self, name: str | None) -> bool:
        return name is not None and (name in self._allowed or _is_loopback(name))


def _shown(header: str) -> str:
    """A header in a message. Bytes that are no text stand in it as surrogates, which JSON cannot hold."""
    return shortened(header.encode(errors="surrogateescape").decode(errors="replace"))


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
