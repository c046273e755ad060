"""TLS as a client: which authorities are trusted, and the certificate that is shown."""

import ssl
from typing import NamedTuple

from gateway.core.tls_files import load_authorities, load_pair


class ClientPem(NamedTuple):
    """The content of the files of a client, None for those that it has not."""

    roots: bytes | None
    key: bytes | None
    chain: bytes | None


class ClientTls(NamedTuple):
    """The files of a client, in PEM. Without `ca`, the authorities of the system are trusted.

    `cert` and `key` come together, and are shown to servers that ask for a certificate.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The files."""
        return tuple(path for path in self if path is not None)

    def context(self) -> ssl.SSLContext:
        """A context that verifies servers and their names. Raises TlsFileError if a file cannot be used."""
        return self._loaded()[0]

    def pem(self) -> ClientPem:
        """The content of the files, after a check of them. Raises TlsFileError if one cannot be used."""
        return self._loaded()[1]

    def _loaded(self) -> tuple[ssl.SSLContext, ClientPem]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        roots = key = chain = None
        if self.ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            roots = load_authorities(context, self.ca)
        if self.cert is not None:
            chain, key = load_pair(context, self.cert, self.key or self.cert)
        return context, ClientPem(roots, key, chain)
