"""Warnings that come again and again: the first of a minute is shown, and how many were like it when that is over.

Warnings are alike that have the same template, whatever fills it: a thousand runs that fail for one reason are one
thing to know. Lines about other component servers, other problems of one, or other workers are not alike, and neither
are those with exceptions of other kinds or from other places.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.telemetry.log_text import shortened

REPEAT_SECONDS: Final = 60.0
"""For how long further warnings that are alike are only counted."""

MOST_TEMPLATES: Final = 256
"""How many kinds of warnings are counted at the same time. For a further one, the oldest is told and forgotten."""

_LONGEST_KEPT: Final = 500
"""Characters that are kept of a template, and of a message."""

_TOLD_APART: Final = frozenset({"gateway.calls", "gateway.components.output"})
"""Loggers that bound by themselves what they tell, and whose lines differ though their templates do not."""

_Kind: TypeAlias = tuple[str, str, int, tuple[str, ...], str]
"""The logger, the template, the level, the fields that tell lines apart, and where an exception comes from."""

_APART: Final = ("prefix", "problem", "worker")
"""The fields by which lines differ: which component server has which problem, and which worker has ended."""


class _Window:
    """The time in which warnings of one kind are counted, and the first of them."""

    __slots__ = ("end", "message", "more")

    def __init__(self, message: str, end: float) -> None:
        self.message = message
        self.end = end
        self.more = 0


class Repeats:
    """Counts the warnings and errors of one log that are like earlier ones. It is called by one thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[_Kind, _Window] = {}
        """In the order in which they end."""

    def admits(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be shown. One that is not is counted. First show what is `due`."""
        if record.levelno < logging.WARNING or record.name in _TOLD_APART:
            return True
        kind = _kind_of(record)
        window = self._windows.get(kind)
        if window is not None:
            window.more += 1
            return False
        self._windows[kind] = _Window(_first_message(record), self._clock() + REPEAT_SECONDS)
        return True

    def due(self) -> list[logging.LogRecord]:
        """What is to be told of the windows that are over, which are forgotten."""
        now = self._clock()
        over: list[_Kind] = []
        for kind, window in self._windows.items():
            if window.end > now and len(self._windows) - len(over) < MOST_TEMPLATES:
                break
            over.append(kind)
        return self._told(over)

    def rest(self) -> list[logging.LogRecord]:
        """What is to be told of all windows, which are forgotten: the log ends."""
        return self._told([*self._windows])

    def next_due(self) -> float | None:
        """In how many seconds there is something to tell, unless something happens before; None if there is nothing."""
        ends = (window.end for window in self._windows.values() if window.more)
        return max(0.0, end - self._clock()) if (end := next(ends, None)) is not None else None

    def _told(self, kinds: list[_Kind]) -> list[logging.LogRecord]:
        windows = [(kind, self._windows.pop(kind)) for kind in kinds]
        return [_summary(kind, window) for kind, window in windows if window.more]


def _kind_of(record: logging.LogRecord) -> _Kind:
    template = str(record.msg)[:_LONGEST_KEPT]
    fields = tuple(str(getattr(record, name, ""))[:_LONGEST_KEPT] for name in _APART)
    return record.name, template, record.levelno, fields, _origin(record)


def _origin(record: logging.LogRecord) -> str:
    """What kind of exception a record tells of, and the line that has raised it."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    kind, _, traceback = record.exc_info
    place = ""
    while traceback is not None:
        place, traceback = f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}", traceback.tb_next
    return f"{kind.__qualname__} {place}"


def _first_message(record: logging.LogRecord) -> str:
    try:
        return shortened(record.getMessage().split("\n", 1)[0], _LONGEST_KEPT)
    except Exception:
        return str(record.msg)[:_LONGEST_KEPT]


def _summary(kind: _Kind, window: _Window) -> logging.LogRecord:
    name, _, level, values, _ = kind
    message = f"{window.message} ... (and {window.more:,} more like it)"
    fields = {name: value for name, value in zip(_APART, values, strict=True) if value}
    return logging.makeLogRecord(
        {
            "name": name,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": message,
            "args": (),
            "repeats": window.more,
            **fields,
        }
    )
