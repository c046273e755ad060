"""Why there is no connection to a Temporal server, in words: the SDK tells the debug text of a library."""

import re
from typing import Final

_STATUS: Final = re.compile(r'Status \{ code: "?(\w+)"?, message: "((?:[^"\\]|\\.)*)"')
"""An answer of the server; of what is no answer, the library makes one as well."""

_SYSTEM: Final = re.compile(r'Os \{ code: -?\d+, kind: \w+, message: "([^"]*)" \}')
_CERTIFICATE: Final = re.compile(r"InvalidCertificate\((\w+)")

_NO_ANSWER: Final = "what answers there is no Temporal server, or the connection was lost"
_NO_TLS: Final = "no connection over TLS"

_CERTIFICATES: Final = {
    "UnknownIssuer": "no authority that is trusted here has signed it",
    "Expired": "it has expired",
    "ExpiredContext": "it has expired",
    "NotValidYet": "it is not valid yet",
    "NotValidYetContext": "it is not valid yet",
    "NotValidForName": "it is for another name",
    "NotValidForNameContext": "it is for another name",
    "Revoked": "it is revoked",
}

_PROBLEMS: Final = (
    ("dns error", "the name of the server cannot be resolved"),
    ("InvalidContentType", f"{_NO_TLS}: the server speaks something else"),
    ("tls handshake eof", f"{_NO_TLS}: the server has ended it"),
    ("AlertReceived", f"{_NO_TLS}: the server has refused it"),
    ("timed out", "no connection in time"),
    ("transport::Error", "no connection"),
)
"""What the text has in it, and what that means; the first that fits counts."""


def connect_words(text: str) -> str:
    """Say in one line why the SDK could not connect, without the address, which the caller knows."""
    if (status := _STATUS.search(text)) is not None:
        return _NO_ANSWER if "transport::Error" in text else f"{status[2]} ({status[1]})"
    if (certificate := _CERTIFICATE.search(text)) is not None:
        why = _CERTIFICATES.get(certificate[1], "it is malformed, or not for a server")
        return f"the certificate of the server is not accepted: {why}"
    if (system := _SYSTEM.search(text)) is not None:
        return f"no connection: {system[1]}"
    return next((words for part, words in _PROBLEMS if part in text), text)
