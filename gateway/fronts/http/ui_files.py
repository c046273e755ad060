"""The files of the live page, at `/ui` and below. They are the same for everybody; what the page shows needs a token.

The page is at `/ui` and names its files by relative URLs, so that a proxy may serve it under any path.
"""

import gzip
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from gateway.fronts.http.preferences import ranks
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import SERVER, HttpResponse, header_lines

UI_PATH: Final = "/ui"

_PAGE: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    # Nothing but what this server serves: an input or a label that is markup is never more than text.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Browsers ask each time whether there is another version; the names of the files never change.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
    "Server": SERVER,
}
_MOVED: Final = HttpResponse(b"", header_lines({"Location": "../ui", "Server": SERVER}), 308)


class UiFiles:
    """Answers requests for the page and its files, which are read once."""

    def __init__(self) -> None:
        folder = files("gateway.fronts.http") / "ui"
        self._files = {
            UI_PATH if file.name == _PAGE else f"{UI_PATH}/{file.name}": _UiFile(file.name, file.read_bytes())
            for file in folder.iterdir()
            if _suffix(file.name) in _TYPES
        }

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to a GET or a HEAD; None if it is for none of the files."""
        path = request.path
        if path == f"{UI_PATH}/":
            return _MOVED
        file = self._files.get(path)
        return None if file is None else file.answer(request)


class _UiFile:
    """A file as it is, and as it is compressed."""

    def __init__(self, name: str, content: bytes) -> None:
        tag = hashlib.sha256(content).hexdigest()[:32]
        headers = {"Content-Type": _TYPES[_suffix(name)], **_HEADERS}
        encoded = {**headers, "ETag": f'"{tag}-gzip"', "Content-Encoding": "gzip"}
        self._plain = _SentForm(content, {**headers, "ETag": f'"{tag}"'})
        self._gzip = _SentForm(gzip.compress(content, mtime=0), encoded)

    def answer(self, request: HttpRequest) -> HttpResponse:
        accepted = request.headers.get("Accept-Encoding", "")
        form = self._gzip if ranks(accepted).get("gzip", 0.0) > 0 else self._plain
        return form.unchanged if form.tag in request.headers.get("If-None-Match", "") else form.whole


class _SentForm:
    """One way in which a file is sent: whole, or not to a client that has it."""

    def __init__(self, content: bytes, headers: Mapping[str, str]) -> None:
        lines = header_lines(headers)
        self.tag = headers["ETag"]
        self.whole = HttpResponse(content, lines)
        self.unchanged = HttpResponse(content, lines, 304)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""
