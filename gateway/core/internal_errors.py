"""Unexpected exceptions: the log gets all details, the client an id under which they are found."""

import logging
import uuid

from gateway.core.errors import Internal

_logger = logging.getLogger(__name__)


def report_unexpected(error: BaseException) -> Internal:
    """Log an unexpected exception with its traceback, and return the error that a client is told instead."""
    identity = uuid.uuid4().hex
    _logger.error("internal error, id %s", identity, exc_info=error)
    return Internal(f"internal error, id {identity}")
