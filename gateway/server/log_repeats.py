"""Warnings that come again and again: the first of a minute is shown, and at its end the last, with their number.

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

_APART: Final = ("prefix", "problem", "worker")
"""The fields by which lines differ: which component server has which problem, and which worker has ended."""

_TOLD_AGAIN: Final = (*_APART, "run_id", "trace_id")
"""The fields that the last one is told with."""

_Kind: TypeAlias = tuple[str, str, int, tuple[str, ...], str]
"""The logger, the template, the level, the fields that tell lines apart, and where an exception comes from."""


class _Window:
    """The time in which warnings of one kind are counted, and the last one that was."""

    __slots__ = ("end", "fields", "last", "more")

    def __init__(self, end: float) -> None:
        self.end = end
        self.more = 0
        self.last = ""
        self.fields: dict[str, object] = {}

    def count(self, record: logging.LogRecord) -> None:
        self.more += 1
        self.last = _message_of(record)
        self.fields = {name: vars(record)[name] for name in _TOLD_AGAIN if name in vars(record)}


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
            window.count(record)
            return False
        self._windows[kind] = _Window(self._clock() + REPEAT_SECONDS)
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
    # A template that is only a place says nothing of what is told.
    template = _message_of(record) if record.msg == "%s" else str(record.msg)[:_LONGEST_KEPT]
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


def _message_of(record: logging.LogRecord) -> str:
    try:
        return shortened(record.getMessage().split("\n", 1)[0], _LONGEST_KEPT)
    except Exception:
        return str(record.msg)[:_LONGEST_KEPT]


def _summary(kind: _Kind, window: _Window) -> logging.LogRecord:
    name, _, level, _, _ = kind
    others = f" ... (and {window.more - 1:,} more like it)" if window.more > 1 else ""
    head = {"name": name, "levelno": level, "levelname": logging.getLevelName(level), "args": ()}
    return logging.makeLogRecord({**head, "msg": window.last + others, "repeats": window.more, **window.fields})
