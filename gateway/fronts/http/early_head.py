"""What can be read of the head of a request that is refused before the head has been parsed."""

import re
from typing import Final, Self

from aiohttp import hdrs
from aiohttp.http import RawRequestMessage

_PATH: Final = re.compile(rb"[A-Z]{1,16} (/[A-Za-z0-9_./]{1,200})[ ?]")
_END: Final = b"\r\n\r\n"
_LINE: Final = b"\r\n"
_LONGEST: Final = 512
"""The longest line that is of interest, in bytes."""

_NAMED: Final = re.compile(rb"\r\n(origin|content-type):([^\r\n]{0,300}+)(?=\r\n)", re.IGNORECASE)
"""A header and its value, with the white space around it: a pattern that leaves that out tries each way to share it."""


class EarlyHead:
    """The path, and the headers that tell in which form to refuse a request: "" if not known, or if it is there twice.

    The head comes in pieces, of which `add` is told.
    """

    __slots__ = ("_ended", "_headers", "_line", "path")

    def __init__(self, path: str = "") -> None:
        self.path = path
        self._headers: dict[str, str] = {}
        self._line = b""
        """The beginning of the line that is not complete."""
        self._ended = False

    @classmethod
    def beginning(cls, data: bytes) -> Self:
        """A head of which this is the beginning. A path that is long or unusual is not known."""
        begins = _PATH.match(data)
        head = cls("" if begins is None else begins[1].decode())
        head.add(data)
        return head

    @classmethod
    def of(cls, message: RawRequestMessage) -> Self:
        """A head that has been parsed."""
        head = cls(message.url.path)
        for name in (hdrs.ORIGIN, hdrs.CONTENT_TYPE):
            for value in message.headers.getall(name, ()):
                head._note(name.lower(), value)
        return head

    def add(self, data: bytes) -> None:
        """The next piece has come. What follows the end of the head is not looked at."""
        if self._ended:
            return
        data = self._line + data
        end = data.find(_END)
        self._ended = end >= 0
        for name, value in _NAMED.findall(data, 0, end + len(_LINE) if self._ended else len(data)):
            self._note(name.decode().lower(), value.strip(b" \t").decode("latin-1"))
        start = data.rfind(_LINE)
        self._line = data[start : start + _LONGEST] if start >= 0 else data[:_LONGEST]

    @property
    def origin(self) -> str:
        """The origin of the page that sends the request."""
        return self._headers.get("origin", "")

    @property
    def media_type(self) -> str:
        """The media type of the body, in lower case."""
        return self._headers.get("content-type", "").partition(";")[0].strip().lower()

    def _note(self, name: str, value: str) -> None:
        self._headers[name] = "" if name in self._headers else value
