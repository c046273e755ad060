"""How many connections the HTTP front keeps open."""

import logging
import time
from typing import Final

from gateway.core.errors import Overloaded

LOG_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class ConnectionGate:
    """Counts connections, and refuses more than `limit`. The log says so once a minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0
        self._said = -LOG_SECONDS

    def enter(self) -> None:
        """Count one more connection. Raises Overloaded if there are too many."""
        if self._open >= self._limit:
            now = time.monotonic()
            if now - self._said >= LOG_SECONDS:
                self._said = now
                _log.warning("%d HTTP connections are open: further ones are refused", self._limit)
            raise Overloaded("too many connections", retry_after=1.0)
        self._open += 1

    def leave(self) -> None:
        """Count one connection less."""
        self._open -= 1
