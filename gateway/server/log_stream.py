"""Where the log is written without ever waiting: lines that nobody takes are left out, and counted.

A pipe whose reader has stopped reading would otherwise stop the event loop, and all that the gateway does.
"""

import os
import select
from typing import Final, TextIO

_PART: Final = 4_096
"""What a pipe takes at once when it takes anything (PIPE_BUF of Linux), in bytes."""

_PATIENCE_MS: Final = 20
"""How long the rest of a long line is waited for, in milliseconds."""


class LogStream:
    """Writes lines to the descriptor of a stream. One without a descriptor, as in tests, is written to as it is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0
        self._descriptor = _descriptor_of(stream)
        self._poll = select.poll()
        if self._descriptor is not None:
            self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, text: str) -> None:
        """Write one line or several, or count them as lost. Raises OSError if the other end is gone."""
        if self._descriptor is None:
            self._stream.write(text)
            return
        if not self._poll.poll(0):
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            text = f"... {lost:,} entries of the log are lost: nobody read them\n{text}"
        data = text.encode(self._stream.encoding or "utf-8", "backslashreplace")
        for start in range(0, len(data), _PART):
            if start and not self._poll.poll(_PATIENCE_MS):
                self._lost += 1
                return
            os.write(self._descriptor, data[start : start + _PART])

    def flush(self) -> None:
        """Nothing is kept here."""
        if self._descriptor is None:
            self._stream.flush()


def _descriptor_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
