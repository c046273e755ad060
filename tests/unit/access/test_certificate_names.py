"""The names in certificates, as authorities write them and as forgers do."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.access.certificate_names import names_in_der, names_in_pem
from gateway.access.certificates import identities_of
from gateway.access.presented import PeerCertificate
from tests.support.certificates import Certificates

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.datetime.now(datetime.UTC)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "common")])


def certificate(*names: x509.GeneralName) -> x509.Certificate:
    builder = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 1, NOW, NOW + datetime.timedelta(days=1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def both(made: x509.Certificate) -> PeerCertificate:
    found = names_in_der(made.public_bytes(serialization.Encoding.DER))
    assert names_in_pem(made.public_bytes(serialization.Encoding.PEM)) == found
    return found


def test_names_are_told_by_their_kinds() -> None:
    names = (x509.UniformResourceIdentifier("spiffe://mesh/a"), x509.DNSName("host.example"), x509.RFC822Name("a@b.c"))
    assert both(certificate(*names)) == PeerCertificate(("spiffe://mesh/a",), ("host.example",), "common")
    assert both(certificate()) == PeerCertificate((), (), "common")


@pytest.mark.parametrize("name", ["spiffe://mesh/ns/a", "client.example\0.evil.example"])
def test_a_name_of_one_kind_is_not_one_of_another_and_none_is_cut(name: str) -> None:
    found = both(certificate(x509.DNSName(name)))
    assert found.uris == ()
    assert found.dns_names in ((name,), ())
    assert identities_of(found) == []


def test_the_first_certificate_of_a_file_counts_and_what_is_none_has_no_names(tmp_path: Path) -> None:
    files = Certificates(tmp_path).client("c", "spiffe://mesh/ns/a", common_name="x")
    assert names_in_pem(Path(files.cert).read_bytes()).uris == ("spiffe://mesh/ns/a",)
    assert names_in_pem(b"nothing") == names_in_der(b"\x30\x00") == PeerCertificate()
