"""How a line of the log looks: for people, or as JSON. One record is one entry, whatever its message holds.

What is given as `extra` is a field of the record: JSON has all fields as members, the text has the ids of the run and
of the trace that the message does not name. Messages and fields may hold what clients, servers and files say, so they
are bounded, and control characters are escaped.
"""

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any, Final

from gateway.telemetry import tracing
from gateway.telemetry.log_text import harmless, indented, one_entry, shortened

LONGEST_MESSAGE: Final = 16_384
"""Characters of a message that the log shows."""

LONGEST_TRACEBACK: Final = 32_768
"""Characters of a traceback that the log shows: its beginning and, twice as long, its end."""

LONGEST_FIELD: Final = 256
"""Characters of a field that the log shows."""

MOST_FIELDS: Final = 32

_IDS: Final = ("run_id", "trace_id")

_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode

_NO_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has."""

_MEMBERS: Final = frozenset({"time", "level", "logger", "pid", "exception", "stack"})
"""The members of JSON that are no fields."""


class TextFormatter(logging.Formatter):
    """Lines for people. A line that begins with a space belongs to the one before."""

    def __init__(self, *, with_pid: bool = False) -> None:
        pid = "[%(process)d]" if with_pid else ""
        super().__init__(f"%(asctime)s %(levelname)s %(name)s{pid}: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The entry of a record, without the end of its last line."""
        message = one_entry(_message(record))
        for name, value in _fields(record).items():
            if name in _IDS and str(value) not in message:
                message += f" {name}={value}"
        record.message, record.asctime = message, self.formatTime(record)
        details = (_traceback(record), record.stack_info)
        return "\n".join([self.formatMessage(record), *(indented(text) for text in details if text)])


class JsonFormatter(logging.Formatter):
    """JSON objects, one a line. `process` is the name of the process that writes."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The entry of a record, as one line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        members: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": harmless(_message(record), lines=True),
            "process": self._process,
            "pid": record.process or os.getpid(),
            **_fields(record),
        }
        for name, text in (("exception", _traceback(record)), ("stack", record.stack_info)):
            if text:
                members[name] = harmless(text, lines=True)
        return _encode(members)


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:
        # What a mistaken call was to tell may be anything: the log shows what the program says by itself.
        message = str(record.msg)
    return shortened(message, LONGEST_MESSAGE)


def _traceback(record: logging.LogRecord) -> str:
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    return shortened(record.exc_text or "", LONGEST_TRACEBACK, end=True)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record. It is of the current trace, unless it says another one."""
    fields: dict[str, Any] = {}
    for name, value in vars(record).items():
        if name in _NO_FIELDS or name in _MEMBERS or len(fields) == MOST_FIELDS:
            continue
        if isinstance(value, str) and value:
            fields[name] = harmless(shortened(value, LONGEST_FIELD))
        elif isinstance(value, bool | int) or (isinstance(value, float) and abs(value) < float("inf")):
            fields[name] = value
    if "trace_id" not in fields and tracing.tracer is not None and (ids := tracing.ids()) is not None:
        fields["trace_id"] = ids[0]
    return fields
