"""Clients that do not read what they are sent."""

import asyncio
from typing import Final

_CHECKS: Final = 4
"""How often a client is looked at within the time that it may read nothing."""


class StallGuard:
    """Cuts a connection whose client has read nothing for `patience` seconds while there was something to read.

    A client that reads slowly stays. The guard looks only while bytes wait to be sent: it costs nothing else.
    """

    __slots__ = ("_checks_left", "_patience", "_progressed", "_timer", "_unsent")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._checks_left = _CHECKS
        self._unsent = 0
        self._progressed = False

    def watch(self, transport: asyncio.WriteTransport) -> None:
        """Bytes wait to be sent."""
        if self._timer is None:
            self._checks_left = _CHECKS
            self._unsent = transport.get_write_buffer_size()
            self._progressed = False
            self._set_timer(transport)

    def all_sent(self) -> None:
        """No bytes wait any more."""
        self._progressed = True

    def close(self) -> None:
        """Look no more: the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, transport: asyncio.WriteTransport) -> None:
        delay = self._patience / _CHECKS
        self._timer = asyncio.get_running_loop().call_later(delay, self._check, transport)

    def _check(self, transport: asyncio.WriteTransport) -> None:
        self._timer = None
        unsent = transport.get_write_buffer_size()
        if not unsent:
            return
        if self._progressed or unsent < self._unsent:
            self._checks_left = _CHECKS
        else:
            self._checks_left -= 1
        self._unsent, self._progressed = unsent, False
        if self._checks_left:
            self._set_timer(transport)
        else:
            transport.abort()
