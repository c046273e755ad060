"""Why there is no connection to an HTTP server, in words for operators."""

import os
import ssl
from typing import Final

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ConnectionTimeoutError,
)

LOST: Final = "the connection was lost before the answer had come"

_NO_NAME: Final = "the name of the server cannot be resolved"


def not_connected(error: ClientConnectorError | ConnectionTimeoutError) -> str:
    """Say why a connection could not be made, without the address, which the caller knows."""
    if isinstance(error, ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, ClientConnectorDNSError):
        return _NO_NAME
    if isinstance(error, ClientConnectorCertificateError):
        return f"the certificate of the server is not accepted: {_refused(error.certificate_error)}"
    cause = error.os_error
    if isinstance(cause, ssl.SSLError):
        return f"no connection over TLS: {(cause.reason or 'it is refused').replace('_', ' ').lower()}"
    return f"no connection: {_reason(cause)}"


def _refused(error: Exception) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else "it is malformed"


def _reason(error: OSError) -> str:
    # The text of asyncio names the address again, and lists all attempts.
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else "the address cannot be reached"
