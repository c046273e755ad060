"""Certificates of tests: authorities, and what they have signed, in files as servers and clients read them."""

import datetime
import os
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_NAMES: Final = ("localhost", "127.0.0.1", "::1")
"""The names in the certificates of servers."""

_DAY: Final = datetime.timedelta(days=1)


class CertificateFiles(NamedTuple):
    """The paths of a certificate, with its chain, and of its key, both in PEM."""

    cert: str
    key: str


class Certificates:
    """An authority whose certificates are written below `directory`. Two of them do not trust each other."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self._authority = trustme.CA(organization_name=f"tests of {name}", key_type=trustme.KeyType.ECDSA)
        self.ca = str(directory / f"{name}.pem")
        """The path of the authority's own certificate."""
        self._authority.cert_pem.write_to_path(self.ca)
        self._name = name

    def server(self, name: str = "server", *names: str) -> CertificateFiles:
        """A certificate for a server with these names, those of loopback by default."""
        return self._write(name, self._authority.issue_cert(*(names or SERVER_NAMES)))

    def client(self, name: str = "client", *names: str, common_name: str | None = None) -> CertificateFiles:
        """A certificate for a client; names are DNS names, or URIs if they have a scheme, as `spiffe://`."""
        if any("://" in each for each in names):
            return self.made(name, names, common_name=common_name)
        return self._write(name, self._authority.issue_cert(*names, common_name=common_name or f"cn-{name}"))

    def expired(self, name: str = "expired", *names: str) -> CertificateFiles:
        """A certificate whose time ended yesterday."""
        return self.made(name, names or SERVER_NAMES, ends=-_DAY)

    def without_client_usage(self, name: str = "server-only") -> CertificateFiles:
        """A certificate that is for servers alone."""
        return self.made(name, SERVER_NAMES, usages=(ExtendedKeyUsageOID.SERVER_AUTH,))

    def made(
        self,
        name: str,
        names: tuple[str, ...],
        *,
        common_name: str | None = None,
        usages: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
        ends: datetime.timedelta = _DAY,
    ) -> CertificateFiles:
        """A certificate with these usages, which ends so long from now; what trustme does not make."""
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.load_pem_x509_certificate(self._authority.cert_pem.bytes())
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(common_name))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * _DAY)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), False)
        certificate = builder.sign(self._authority_key(), hashes.SHA256())
        files = self._files(name)
        Path(files.cert).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        Path(files.key).write_bytes(_key_text(key))
        return files

    def _authority_key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def _write(self, name: str, leaf: trustme.LeafCert) -> CertificateFiles:
        files = self._files(name)
        Path(files.cert).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(files.key)
        return files

    def _files(self, name: str) -> CertificateFiles:
        return CertificateFiles(
            str(self._directory / f"{self._name}-{name}.pem"), str(self._directory / f"{self._name}-{name}.key")
        )


def encrypt_key(path: str, password: bytes = b"secret") -> str:
    """Write a key anew beside itself, with a password. Return the path."""
    key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
    encrypted = f"{path}.encrypted"
    Path(encrypted).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
    )
    return encrypted


def overwrite(path: str, source: str) -> None:
    """Write the content of one file into another."""
    Path(path).write_bytes(Path(source).read_bytes())


class MountedSecret:
    """A directory as Kubernetes mounts a secret: files are links through `..data`, which is swapped as a whole."""

    def __init__(self, directory: Path, files: CertificateFiles) -> None:
        self._directory = directory
        self._version = 0
        directory.mkdir(exist_ok=True)
        self.files = CertificateFiles(str(directory / "tls.crt"), str(directory / "tls.key"))
        self.swap(files)
        for name in ("tls.crt", "tls.key"):
            (directory / name).symlink_to(Path("..data") / name)

    def swap(self, files: CertificateFiles) -> None:
        """Put another certificate and key into place, in one step."""
        self._version += 1
        version = self._directory / f"..version_{self._version}"
        version.mkdir()
        (version / "tls.crt").write_bytes(Path(files.cert).read_bytes())
        (version / "tls.key").write_bytes(Path(files.key).read_bytes())
        link = self._directory / "..data_tmp"
        link.symlink_to(version.name)
        os.replace(link, self._directory / "..data")


def _subject(common_name: str | None) -> x509.Name:
    attributes = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tests"), *attributes])


def _general(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
