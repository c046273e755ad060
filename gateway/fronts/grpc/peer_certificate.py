"""The certificate of the client of a gRPC call."""

from functools import lru_cache
from typing import Any

from gateway.access.presented import PeerCertificate


def peer_certificate(context: Any) -> PeerCertificate | None:
    """The names in the certificate that the client has shown, and that grpcio has verified; None if it has shown none.

    The native transport has no TLS, and its contexts know no certificates.
    """
    auth_context = getattr(context, "auth_context", None)
    if auth_context is None:
        return None
    found = auth_context()
    if "x509_pem_cert" not in found:
        return None
    return _names(
        tuple(found.get("peer_uri", ())), tuple(found.get("peer_dns", ())), tuple(found.get("x509_common_name", ()))
    )


@lru_cache(maxsize=1_024)
def _names(uris: tuple[bytes, ...], dns_names: tuple[bytes, ...], common_names: tuple[bytes, ...]) -> PeerCertificate:
    return PeerCertificate(
        tuple(uri.decode(errors="replace") for uri in uris),
        tuple(name.decode(errors="replace") for name in dns_names),
        common_names[0].decode(errors="replace") if common_names else None,
    )
