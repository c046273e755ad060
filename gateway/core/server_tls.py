"""TLS as a server: the certificate, and which clients are let in. Files that change are read anew."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Final, NamedTuple

from gateway.core.tls_files import TlsFileError, file_stamps, load_authorities, load_pair

LOOK_SECONDS: Final = 1.0
"""How often to look whether a file has changed."""

_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The suites of TLS 1.2: with forward secrecy, and authenticated. Those of TLS 1.3 all are."""

_ATTEMPTS: Final = 3

_log = logging.getLogger(__name__)


class ClientAuth(StrEnum):
    """Whether clients show certificates."""

    NONE = "none"
    OPTIONAL = "optional"
    """One that is shown must be good; a client may come without."""
    REQUIRED = "required"


class ServerTlsFiles(NamedTuple):
    """The files of a server, in PEM, and whether clients show certificates that `client_ca` has signed."""

    cert: str
    key: str
    client_ca: str | None = None
    client_auth: ClientAuth = ClientAuth.NONE

    @property
    def paths(self) -> tuple[str, ...]:
        """The files."""
        return (self.cert, self.key) if self.client_ca is None else (self.cert, self.key, self.client_ca)


class ServerPem(NamedTuple):
    """The content of the files of a server."""

    chain: bytes
    key: bytes
    client_ca: bytes | None


class ServerTls:
    """What a server shows to new connections, and asks of them. Connections that there are stay as they are.

    `context` is for HTTP/1.1; `pem` has the same for gRPC. `generation` counts how often the files have changed.
    """

    def __init__(self, files: ServerTlsFiles, look_seconds: float = LOOK_SECONDS) -> None:
        """Read the files. Raises TlsFileError if one cannot be used."""
        self.files = files
        self.generation = 0
        self._look_seconds = look_seconds
        self._stamps = file_stamps(files.paths)
        self.context, self.pem = _load(files)

    @property
    def asks_for_certificates(self) -> bool:
        """Whether clients may show certificates."""
        return self.files.client_auth is not ClientAuth.NONE

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Read files anew when they change, until the block is left."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def look(self) -> None:
        """Look once whether files have changed. Those that cannot be used are logged once; the ones before stay."""
        found = await asyncio.to_thread(self._look)
        if isinstance(found, TlsFileError):
            _log.error("the new TLS files cannot be used: %s; those before stay in use", found)
        elif found is not None:
            self.context, self.pem = found
            self.generation += 1
            _log.info("the TLS files have changed: new connections use %s", self.files.cert)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            await self.look()

    def _look(self) -> tuple[ssl.SSLContext, ServerPem] | TlsFileError | None:
        """What is in files that have changed, read in a thread: file systems may be slow."""
        before = file_stamps(self.files.paths)
        if before == self._stamps:
            return None
        for _ in range(_ATTEMPTS):
            loaded: tuple[ssl.SSLContext, ServerPem] | TlsFileError
            try:
                loaded = _load(self.files)
            except TlsFileError as error:
                loaded = error
            after = file_stamps(self.files.paths)
            if after == before:
                self._stamps = after
                return loaded
            before = after  # They have changed meanwhile: what was read may be of two versions.
        return None


def _load(files: ServerTlsFiles) -> tuple[ssl.SSLContext, ServerPem]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    chain, key = load_pair(context, files.cert, files.key)
    if files.client_auth is ClientAuth.NONE or files.client_ca is None:
        return context, ServerPem(chain, key, None)
    authorities = load_authorities(context, files.client_ca)
    context.verify_mode = ssl.CERT_REQUIRED if files.client_auth is ClientAuth.REQUIRED else ssl.CERT_OPTIONAL
    # A session that is resumed brings the certificate of its first connection, which may have expired since.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context, ServerPem(chain, key, authorities)
