"""The certificate of the client of a gRPC call."""

from typing import Any

from gateway.access.certificate_names import names_in_pem
from gateway.access.presented import PeerCertificate


def peer_certificate(context: Any) -> PeerCertificate | None:
    """The names in the certificate that the client has shown, and that grpcio has verified; None if it has shown none.

    The native transport has no TLS, and its contexts know no certificates.
    """
    auth_context = getattr(context, "auth_context", None)
    if auth_context is None:
        return None
    shown = auth_context().get("x509_pem_cert")
    return names_in_pem(shown[0]) if shown else None
