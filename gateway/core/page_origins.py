"""Origins of pages, as browsers write them: `https://app.example`, `http://localhost:5173`."""

import re
from typing import Final

ANY_ORIGIN: Final = "*"
"""Stands for all origins where some are allowed."""

_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_LAST_PORT: Final = 65_535
_OF_NO_PAGE: Final = frozenset(
    {
        "about",
        "blob",
        "data",
        "file",
        "ftp",
        "ftps",
        "grpc",
        "grpcs",
        "javascript",
        "mailto",
        "sftp",
        "unix",
        "ws",
        "wss",
    }
)
"""Schemes of which browsers write no origin. Others than http and https are those of extensions and of applications."""

_USUAL_PORTS: Final = (("http://", ":80"), ("https://", ":443"))


def is_origin(text: str) -> bool:
    """Whether a text is one origin: in small letters, without a path, and without the usual port."""
    usual = any(text.startswith(scheme) and text.endswith(port) for scheme, port in _USUAL_PORTS)
    match = _ORIGIN.fullmatch(text)
    if usual or match is None:
        return False
    scheme, port = match.groups()
    return scheme not in _OF_NO_PAGE and int(port or 1) <= _LAST_PORT
