"""The names in a certificate, read in one way for both fronts.

grpcio tells names without saying of which kind they are, and cuts those that have a zero byte; so it is the certificate
itself that is read.
"""

from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.access.presented import PeerCertificate

KNOWN: Final = 1_024
"""Of how many certificates the names are remembered."""

_NAMELESS: Final = PeerCertificate()


@lru_cache(KNOWN)
def names_in_pem(pem: bytes) -> PeerCertificate:
    """The names in a certificate that TLS has verified. One that cannot be read has none."""
    try:
        return _names(x509.load_pem_x509_certificate(pem))
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return _NAMELESS


@lru_cache(KNOWN)
def names_in_der(der: bytes) -> PeerCertificate:
    """Like `names_in_pem`."""
    try:
        return _names(x509.load_der_x509_certificate(der))
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return _NAMELESS


def _names(certificate: x509.Certificate) -> PeerCertificate:
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = tuple(others.get_values_for_type(x509.UniformResourceIdentifier))
        dns_names = tuple(others.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        uris = dns_names = ()
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return PeerCertificate(uris, dns_names, str(common[0].value) if common else None)
