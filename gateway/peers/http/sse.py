"""A reader of server-sent events, as far as the protocols here use them: the data of each event, and the last id."""

import re
from collections.abc import Iterator
from typing import Final

_LINE_END = re.compile(rb"[\r\n]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_LINES_AT_ONCE: Final = 64
"""How many lines are read between two steps: some 100 microseconds."""


class EventTooLarge(Exception):
    """More than the limit came in without completing an event."""


class EventReader:
    """Turns the chunks of an event stream into the data of its events, in memory bounded by `limit` and a chunk.

    Lines may end in LF, CR or CRLF, and chunks may be cut anywhere. Comments and other fields than `data` and `id` are
    skipped, but count towards the limit, so that a stream without events ends too. `last_id` is the id that came last,
    with the event or before it.
    """

    def __init__(self, limit: int) -> None:
        self.last_id = ""
        self._limit = limit
        self._partial = bytearray()
        self._data: bytearray | None = None
        self._size = 0
        self._first = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """Yield the data of each event that `chunk` completes, and None after some lines that complete none.

        So a bounded number of lines is read between two steps. Raises EventTooLarge if the limit is exceeded.
        """
        start = lines = 0
        for match in _LINE_END.finditer(chunk):
            end = match.start()
            if self._after_cr and end == start and not self._partial and chunk[end : end + 1] == b"\n":
                self._after_cr = False
                start = match.end()
                continue
            self._after_cr = match.group() == b"\r"
            self._partial += chunk[start:end]
            start = match.end()
            lines += 1
            event = self._line()
            if event is not None or not lines % _LINES_AT_ONCE:
                yield event
        if start < len(chunk):
            self._after_cr = False
            self._partial += chunk[start:]
            if self._size + len(self._partial) > self._limit:
                raise EventTooLarge

    def _line(self) -> bytes | None:
        """Take the line that is complete. Returns the data of the event if the line ends one."""
        line, self._partial = self._partial, bytearray()
        if self._first:
            self._first = False
            if line.startswith(_BYTE_ORDER_MARK):
                del line[: len(_BYTE_ORDER_MARK)]
        self._size += len(line) + 1
        if self._size > self._limit:
            raise EventTooLarge
        if not line:
            return self._event()
        # Long lines are not copied for this: their beginning is cut off in place.
        if line == b"data" or line.startswith(b"data:"):
            del line[: 6 if line.startswith(b"data: ") else 5]
            if self._data is None:
                self._data = line
            else:
                self._data += b"\n"
                self._data += line
        elif line == b"id" or line.startswith(b"id:"):
            self.last_id = line[3:].removeprefix(b" ").decode(errors="replace")
        return None

    def _event(self) -> bytes | None:
        if self._data is None:
            return None
        event = bytes(self._data)
        self._data = None
        self._size = 0
        return event
