"""Connections of HTTP clients over TLS, which follow the files of the client."""

import logging
import ssl
import time
from typing import Any, Final

from aiohttp import TCPConnector
from aiohttp.connector import Connection

from gateway.core.client_tls import ClientTls
from gateway.core.tls_files import TlsFileError, file_stamps, load_authorities, load_pair

LOOK_SECONDS: Final = 1.0
"""How often to look whether a file has changed, at most, and only while requests are made."""

_log = logging.getLogger(__name__)


class TlsConnector(TCPConnector):
    """Connects with what the files of `tls` hold: a new certificate is shown by new connections.

    New authorities are trusted besides the earlier ones. Files that cannot be used are logged once, and change nothing.
    """

    def __init__(self, tls: ClientTls, **options: Any) -> None:
        """Read the files. Raises TlsFileError if one cannot be used."""
        self._tls = tls
        self._stamps = file_stamps(tls.paths)
        self._context = tls.context()
        self._look_at = time.monotonic() + LOOK_SECONDS
        super().__init__(ssl=self._context, **options)

    async def connect(self, *arguments: Any, **named: Any) -> Connection:
        """As that of every connector."""
        if self._tls.paths and time.monotonic() >= self._look_at:
            self._look()
        return await super().connect(*arguments, **named)

    def _look(self) -> None:
        self._look_at = time.monotonic() + LOOK_SECONDS
        stamps = file_stamps(self._tls.paths)
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._tls.context()
            _load(self._context, self._tls)
        except TlsFileError as error:
            _log.error("the new TLS files cannot be used: %s; those before stay in use", error)


def _load(context: ssl.SSLContext, tls: ClientTls) -> None:
    if tls.ca is not None:
        load_authorities(context, tls.ca)
    if tls.cert is not None:
        load_pair(context, tls.cert, tls.key or tls.cert)
