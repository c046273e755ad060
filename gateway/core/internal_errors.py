"""Where exceptions end: the log gets the details of unexpected ones, clients are told the others."""

import logging
import uuid
from collections.abc import Callable, Mapping

from gateway.core.errors import GatewayError, Internal

_logger = logging.getLogger(__name__)


def report_unexpected(error: BaseException, fields: Mapping[str, str] | None = None) -> Internal:
    """Log an unexpected exception with its traceback, and return the error that a client is told instead.

    `fields` are those of the line: of a run, say.
    """
    identity = uuid.uuid4().hex
    _logger.error("internal error, id %s", identity, exc_info=error, extra=fields)
    return Internal(f"internal error, id {identity}")


def error_to_tell(error: Exception, fields: Callable[[], Mapping[str, str]] | None = None) -> GatewayError:
    """The error that the client of a call is told when the call has ended with `error`, which is not raised again.

    An unexpected exception is reported, with the `fields` of a line of the log.
    """
    told = error if isinstance(error, GatewayError) else report_unexpected(error, fields and fields())
    release_frames(error)
    return told


def release_frames(error: BaseException) -> None:
    """Let an exception, and those that led to it, hold no frames.

    The traceback of an exception holds the variables of all functions that it passed, a request of many megabytes
    among them. Often one of them holds the exception in turn: by a variable, or a task that has failed with it. Only
    the garbage collector would free such a cycle, and it runs rarely here. Called where an exception ends, which a log
    may still describe.
    """
    pending: list[BaseException | None] = [error]
    known: set[int] = set()
    while pending:
        current = pending.pop()
        if current is None or id(current) in known:
            continue
        known.add(id(current))
        current.__traceback__ = None
        pending += (current.__context__, current.__cause__)
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
