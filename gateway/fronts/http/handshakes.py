"""The handshakes of TLS connections: each takes its turn, and those that fail are told of once a minute."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

LOG_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class Handshakes:
    """Lets handshakes go on, one in each turn of the event loop: one may take a millisecond, with a long RSA key."""

    def __init__(self) -> None:
        self.open: set[asyncio.Transport] = set()
        """The connections whose handshake has not ended."""
        self._waiting: deque[Callable[[], None]] = deque()
        self._failed = 0
        self._said = -LOG_SECONDS

    def add(self, step: Callable[[], None]) -> None:
        """Let a step of a handshake have its turn."""
        self._waiting.append(step)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        try:
            self._waiting[0]()
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._turn)

    def note_failure(self, peer: object, reason: str) -> None:
        """A handshake has failed. The log says so once a minute: anybody can make them fail."""
        self._failed += 1
        now = time.monotonic()
        if now - self._said >= LOG_SECONDS:
            _log.warning("%d TLS handshakes have failed; the last one, of %s: %s", self._failed, peer, reason)
            self._said, self._failed = now, 0
