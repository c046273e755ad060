"""The files that TLS needs, in PEM: certificates, keys, and authorities. Keys come from files only."""

import os
import ssl
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from gateway.core.regular_file import opened_regular

Role: TypeAlias = Literal["cert", "key", "ca"]
"""What a file is for."""

Stamp: TypeAlias = tuple[int, int, int, int]
"""Tells one content of a file from another: its device, inode, time of change and size."""

_LARGEST: Final = 4 << 20
"""The most bytes of one file. All authorities of a system have about 250 KB."""


class TlsFileError(Exception):
    """A file cannot be used for TLS. The message is one line that names it, and `role` is what the file is for."""

    def __init__(self, role: Role, message: str) -> None:
        super().__init__(message)
        self.role = role


def file_stamps(paths: Iterable[str]) -> tuple[Stamp | None, ...]:
    """What changes when a file does, also when a link on the way to it is swapped; None for a file that is not there.

    It may block as file systems do.
    """
    return tuple(map(_stamp, paths))


def read_pem(path: str, role: Role) -> bytes:
    """The content of a file. Raises TlsFileError if it cannot be read, or holds no PEM."""
    try:
        with opened_regular(path) as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise TlsFileError(role, f"{path} cannot be read: {error.strerror}") from None
    if b"-----BEGIN " not in content or len(content) > _LARGEST:
        raise TlsFileError(role, f"{path} is not a file in PEM")
    return content


def load_pair(context: ssl.SSLContext, cert: str, key: str) -> tuple[bytes, bytes]:
    """Load a certificate with its chain, and its key, and return the content of both files.

    Raises TlsFileError if they cannot be used, or if the key is that of another certificate.
    """
    chain, secret = read_pem(cert, "cert"), read_pem(key, "key")
    if b"-----BEGIN CERTIFICATE-----" not in chain:
        raise TlsFileError("cert", f"{cert} holds no certificate")
    if b"PRIVATE KEY-----" not in secret:
        raise TlsFileError("key", f"{key} holds no private key")
    if b"ENCRYPTED" in secret:
        raise TlsFileError("key", f"the key in {key} is encrypted: give one without a password")
    try:
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise TlsFileError("key", f"the key in {key} is not that of the certificate in {cert}") from None
        role: Role = "key" if _holds_certificates(chain) else "cert"
        raise TlsFileError(role, f"{key if role == 'key' else cert} cannot be used: {_reason(error)}") from None
    except OSError as error:
        raise TlsFileError("cert", f"{cert} cannot be read: {error.strerror}") from None
    return chain, secret


def load_authorities(context: ssl.SSLContext, path: str) -> bytes:
    """Let a context trust the authorities in a file, and return its content. Raises TlsFileError if there are none."""
    content = read_pem(path, "ca")
    if not _holds_certificates(content, context):
        raise TlsFileError("ca", f"{path} holds no certificate of an authority")
    return content


def _holds_certificates(content: bytes, context: ssl.SSLContext | None = None) -> bool:
    try:
        # A context of its own, unless the certificates are to be trusted.
        (context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        return False
    return True


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "it is malformed").replace("_", " ").lower()
