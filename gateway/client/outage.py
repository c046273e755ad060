"""When to call an unreachable gateway again, and when to give up."""

import random
import time
from collections.abc import Callable
from typing import Final

from gateway.core.backoff import Backoff
from gateway.core.errors import GatewayError, GoAway, Overloaded, Unavailable

FIRST_PAUSE = 0.1
"""About how many seconds pass before the first retry; twice as many before each further one."""

LONGEST_PAUSE = 5.0

ANSWER_SECONDS: Final = 5.0
"""Seconds that an answer may take in any case: the last one after the timeout of a run, or that of its submit."""

EARLY_SECONDS = 0.05
"""What ends so shortly before a deadline has ended with it: the two ends of a call have two clocks."""


def deadline_after(timeout: float | None) -> float | None:
    """Return the value of `time.monotonic()` after so many seconds; None: no deadline."""
    return None if timeout is None else time.monotonic() + timeout


def time_until(deadline: float | None, clock: Callable[[], float] = time.monotonic) -> float | None:
    """Return how many seconds are left until a deadline, 0 after it; None: there is none."""
    return None if deadline is None else max(0.0, deadline - clock())


def first_call_timeout(timeout: float | None, call_timeout: float | None = None) -> float | None:
    """Return how many seconds the first call may take of a method that waits `timeout` seconds for a run.

    It has ANSWER_SECONDS in any case, so that a run can be submitted and not be waited for, and at most
    `call_timeout`, the limit of all calls that do not wait. None: no limit.
    """
    own = None if timeout is None else max(timeout, ANSWER_SECONDS)
    return min((seconds for seconds in (own, call_timeout) if seconds is not None), default=None)


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
        return time_until(self._until, self._clock)

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
        pause = self._backoff.next()
        if isinstance(error, GatewayError) and error.retry_after is not None:
            pause += error.retry_after
        if isinstance(error, GoAway):
            # The gateway answers, and asks for another connection: the stream goes on, also without retries.
            self._since = None
        elif self._since is None:
            self._since = now
        if self._since is not None and self._retry_for is not None and now + pause > self._since + self._retry_for:
            return None
        if self._until is not None and now + pause >= self._until:
            return None
        return pause

    def _is_early(self, error: Exception, now: float) -> bool:
        """Whether time was up for somebody else before it was here: a proxy has a limit of its own."""
        return isinstance(error, TimeoutError) and (self._until is None or now < self._until - EARLY_SECONDS)
