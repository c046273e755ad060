"""The certificate of the client of an HTTP connection."""

import asyncio

from gateway.access.certificate_names import names_in_der
from gateway.access.presented import PeerCertificate


def peer_certificate(transport: asyncio.BaseTransport) -> PeerCertificate | None:
    """The names in the certificate that the client has shown, and that TLS has verified; None if it has shown none.

    It may take some tens of microseconds: to be asked for once for a connection.
    """
    tls = transport.get_extra_info("ssl_object")
    shown: bytes | None = None if tls is None else tls.getpeercert(binary_form=True)
    return names_in_der(shown) if shown else None
