"""The certificate of the client of an HTTP connection."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from gateway.access.presented import PeerCertificate

_URI: Final = "URI"
_DNS: Final = "DNS"
_COMMON_NAME: Final = "commonName"


def peer_certificate(transport: asyncio.BaseTransport) -> PeerCertificate | None:
    """The names in the certificate that the client has shown, and that TLS has verified; None if it has shown none.

    It takes some tens of microseconds: to be asked for once for a connection.
    """
    tls = transport.get_extra_info("ssl_object")
    found: dict[str, Any] | None = None if tls is None else tls.getpeercert()
    if not found:
        return None
    names: Iterable[tuple[str, str]] = found.get("subjectAltName", ())
    subject = [value for part in found.get("subject", ()) for name, value in part if name == _COMMON_NAME]
    return PeerCertificate(
        tuple(value for kind, value in names if kind == _URI),
        tuple(value for kind, value in names if kind == _DNS),
        subject[0] if subject else None,
    )
