"""Calls that wait until what they need is back, instead of failing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.core.errors import ComponentUnavailable, GatewayError, Overloaded, QuotaExceeded, Unavailable
from gateway.core.internal_errors import release_frames

_T = TypeVar("_T")

PAUSE: Final = 1.0
"""Seconds until the next attempt, if the error names none."""

CALM: Final = 30.0
"""After an attempt of so many seconds, what it needed has been there: the next failure is the first of another time."""


class TimeAway:
    """How long something is waited for that is away, over several failures. Those of another time count anew."""

    __slots__ = ("_failed", "_seconds", "_since")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since = 0.0
        self._failed: float | None = None

    def success(self) -> None:
        """It is there."""
        self._failed = None

    def failure(self) -> bool:
        """It is away: whether to wait for it."""
        now = asyncio.get_running_loop().time()
        if self._failed is None or now - self._failed >= CALM:
            self._since = now
        self._failed = now
        return now - self._since < self._seconds


async def patiently(
    attempt: Callable[[], Awaitable[_T]], seconds: float, goes_on: Callable[[], bool] = lambda: True
) -> _T:
    """What `attempt` returns. It is made again while what it needs is away, for so long, and while it `goes_on`.

    Raises what the last attempt has raised.
    """
    patience = TimeAway(seconds)
    while True:
        try:
            return await attempt()
        except (Unavailable, Overloaded) as error:
            if not passes(error) or not goes_on() or not patience.failure():
                raise
            release_frames(error)
            pause = error.retry_after or PAUSE
        await asyncio.sleep(pause)


def passes(error: GatewayError) -> bool:
    """Whether an error is one of the engine, the storage or the workers, which may be there later.

    A quota is the caller's own, and component servers have attempts of their own.
    """
    return isinstance(error, Unavailable | Overloaded) and not isinstance(error, QuotaExceeded | ComponentUnavailable)
