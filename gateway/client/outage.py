"""When to call an unreachable gateway again, and when to give up."""

import random
import time
from collections.abc import Callable

from gateway.core.backoff import Backoff
from gateway.core.errors import GatewayError, Overloaded, Unavailable

FIRST_PAUSE = 0.1
"""About how many seconds pass before the first retry; twice as many before each further one."""

LONGEST_PAUSE = 5.0

EARLY_SECONDS = 0.05
"""What ends so shortly before a deadline has ended with it: the two ends of a call have two clocks."""


def deadline_after(timeout: float | None) -> float | None:
    """Return the value of `time.monotonic()` after so many seconds; None: no deadline."""
    return None if timeout is None else time.monotonic() + timeout


class Outage:
    """The time for which a gateway has not answered, and the retries in that time.

    Retries end `retry_for` seconds after the first failure since the last answer (None: never), and at the deadline
    `until`, a value of the clock, in any case.
    """

    def __init__(
        self,
        retry_for: float | None,
        until: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._retry_for = retry_for
        self._until = until
        self._clock = clock
        # Half of each pause by chance: many clients that lost their connections at once do not come back at once.
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, jitter=0.5, chance=chance)
        self._since: float | None = None

    def heard(self, *, progress: bool = True) -> None:
        """Take note of an answer. Without progress the next pause still grows: the gateway may fail again and again."""
        self._since = None
        if progress:
            self._backoff.reset()

    def remaining(self) -> float | None:
        """Return how many seconds are left until the deadline; None: there is none."""
        return None if self._until is None else max(0.0, self._until - self._clock())

    def pause(self, error: Exception) -> float:
        """Return how many seconds to pause before the next call.

        Raises `error` if a retry would not help, or not in time.
        """
        pause = self._next(error)
        if pause is None:
            try:
                raise error from None
            finally:
                del error  # The error holds this frame.
        return pause

    def _next(self, error: Exception) -> float | None:
        """The next pause; None if a retry would not help, or not in time."""
        now = self._clock()
        if not (isinstance(error, (Unavailable, Overloaded)) or self._is_early(error, now)):
            return None
        if self._since is None:
            self._since = now
        pause = self._backoff.next()
        if isinstance(error, GatewayError) and error.retry_after is not None:
            pause += error.retry_after
        if self._retry_for is not None and now + pause > self._since + self._retry_for:
            return None
        if self._until is not None and now + pause >= self._until:
            return None
        return pause

    def _is_early(self, error: Exception, now: float) -> bool:
        """Whether time was up for somebody else before it was here: a proxy has a limit of its own."""
        return isinstance(error, TimeoutError) and (self._until is None or now < self._until - EARLY_SECONDS)
