"""What a server that the gateway is a client of refuses because of the gateway's own credentials.

No client of the gateway can mend that, and its own credentials are not concerned: it is told that the call cannot be
served now. Operators are told which settings to look at.
"""

import logging
import time
from typing import Final

from gateway.core.counted import counted
from gateway.core.errors import GatewayError, PermissionDenied, Unauthenticated, Unavailable

FLAGS: Final = "--upstream-token-file, --upstream-cert"
"""The settings that say what the gateway shows."""

LOG_SECONDS: Final = 60.0
"""How often the log tells of refusals, at most; those between are counted."""

RETRY_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class UpstreamRefusal(Unavailable):
    """Another server does not accept the credentials of this gateway.

    Or they are `known` there, and do not permit the call.
    """

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message, retry_after=RETRY_SECONDS)
        self.known = known

    def copy(self) -> "UpstreamRefusal":
        """The same error, to be raised once more."""
        return UpstreamRefusal(self.message, known=self.known)


class UpstreamRefusals:
    """The refusals of `what` at `address`. `unaccepted` says whether it does not accept the credentials, as known."""

    def __init__(self, what: str, address: str) -> None:
        self._what = what
        self._address = address
        self._told_at: dict[bool, float] = {}
        self._untold: dict[bool, int] = {}
        self.unaccepted = False
        self._complained = False
        """The log says last that the credentials are not accepted."""

    def told(self, error: GatewayError) -> GatewayError:
        """The error for clients of this gateway, for one that the other server has answered with."""
        if isinstance(error, Unauthenticated):
            self.unaccepted = True
            return self._refusal(f"{self._what} does not accept the credentials of this gateway", known=False)
        if isinstance(error, PermissionDenied):
            self.accepted()
            return self._refusal(f"{self._what} does not permit this to this gateway: {error.message}", known=True)
        if not isinstance(error, Unavailable):
            self.accepted()
        return error

    def accepted(self) -> None:
        """Note that the other server has answered, and not refused the credentials."""
        if self.unaccepted:
            self.unaccepted = False
        if self._complained:
            self._complained = False
            _log.warning("%s at %s accepts the credentials of this gateway now", self._what, self._address)

    def _refusal(self, message: str, *, known: bool) -> UpstreamRefusal:
        now = time.monotonic()
        last = self._told_at.get(known)
        if last is not None and now - last < LOG_SECONDS:
            self._untold[known] = self._untold.get(known, 0) + 1
        else:
            self._told_at[known] = now
            self._complained |= not known
            more = self._untold.pop(known, 0)
            count = f"; {counted(more, 'more refusal')} since it was last told" if more else ""
            _log.warning("%s (%s, at %s)%s", message, FLAGS, self._address, count)
        return UpstreamRefusal(message, known=known)
