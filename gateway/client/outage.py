"""When to call again a gateway that does not answer, and when to stop trying."""

import random
import time
from collections.abc import Callable

from gateway.core.backoff import Backoff
from gateway.core.errors import Overloaded, Unavailable

FIRST_PAUSE = 0.1
"""About how many seconds pass before the first repetition; twice as many before each further one."""

LONGEST_PAUSE = 5.0


def deadline_after(timeout: float | None) -> float | None:
    """When so many seconds have passed, as a value of `time.monotonic()`; None for never."""
    return None if timeout is None else time.monotonic() + timeout


class Outage:
    """What is known of a gateway that may fail for a while: since when, and how often it was called in vain.

    It is waited for `retry_for` seconds since it was last heard of (None: for ever), and never beyond `until`, a value
    of the clock.
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
        """The gateway has answered. Without progress the next pause still grows: it may fail again and again."""
        self._since = None
        if progress:
            self._backoff.reset()

    def remaining(self) -> float | None:
        """How many seconds are left; None for no limit."""
        return None if self._until is None else max(0.0, self._until - self._clock())

    def pause(self, error: Exception) -> float:
        """How many seconds to wait before the next call. Raises what does not pass by itself, or in time."""
        if not isinstance(error, (Unavailable, Overloaded)):
            raise error from None
        now = self._clock()
        if self._since is None:
            self._since = now
        pause = self._backoff.next()
        if error.retry_after is not None:
            pause += error.retry_after
        if self._retry_for is not None and now + pause > self._since + self._retry_for:
            raise error from None
        if self._until is not None and now + pause >= self._until:
            raise error from None
        return pause
