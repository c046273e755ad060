"""The log of a server process, on standard error.

It stands on the standard library alone: what libraries log has to look the same, and structlog would be one layer more
over the two formatters.
"""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, TextIO, TypeAlias

from gateway.server.log_format import JsonFormatter, TextFormatter
from gateway.server.log_repeats import Repeats
from gateway.server.log_stream import LogStream

LogFormat: TypeAlias = Literal["text", "json"]

_SLACK_SECONDS: Final = 0.01

_TOLD_OF_HEADERS: Final = ("opentelemetry.baggage", "opentelemetry.trace", "opentelemetry.attributes")
"""Loggers of a library that write what clients have sent in headers, where it is malformed."""


class LogHandler(logging.StreamHandler[LogStream]):
    """Writes the log, in which warnings that are alike are counted (`Repeats`), and never waits (`LogStream`).

    A timer tells their number when nothing else is logged, and closing the handler, which logging does when the process
    ends, tells the rest.
    """

    def __init__(self, stream: TextIO | None = None, repeats: Repeats | None = None) -> None:
        super().__init__(LogStream(sys.stderr if stream is None else stream))
        self._repeats = repeats or Repeats()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless it is only to be counted."""
        self._tell_due()
        if self._repeats.admits(record):
            super().emit(record)
        else:
            self._tell_later()

    def close(self) -> None:
        """Tell what has only been counted."""
        with self._locked():
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            for record in self._repeats.rest():
                super().emit(record)
        super().close()

    def _tell_due(self) -> None:
        for record in self._repeats.due():
            super().emit(record)

    def _tell_later(self) -> None:
        if self._timer is None and (seconds := self._repeats.next_due()) is not None:
            self._timer = threading.Timer(seconds + _SLACK_SECONDS, self._passed)
            self._timer.daemon = True
            self._timer.start()

    def _passed(self) -> None:
        with self._locked():
            if self._timer is not None:
                self._timer = None
                self._tell_due()
                self._tell_later()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()


def log_to_stderr(process: str, log_format: LogFormat = "text") -> None:
    """Let the log go to standard error, with warnings and above until `set_log_level`; or change its format.

    `process` is the name of this process, as in metrics: `gateway`, `bridge`, `worker-1`.

    A log that somebody else has set up stays as it is.
    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(LogHandler())
    formatter = JsonFormatter(process) if log_format == "json" else TextFormatter(with_pid=process.startswith("worker"))
    for handler in root.handlers:
        if isinstance(handler, LogHandler):
            handler.setFormatter(formatter)


def set_log_level(level: str) -> None:
    """Let the log have messages of a level and above. What libraries say about their own work is left to `debug`."""
    logging.getLogger().setLevel(logging.WARNING if level == "info" else level.upper())
    logging.getLogger("gateway").setLevel(level.upper())
    for name in _TOLD_OF_HEADERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
