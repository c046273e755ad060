"""The time of day, as runs keep it."""

import time
from typing import Final

from gateway.core.errors import StateUnavailable
from gateway.core.model import Nanoseconds

LATEST: Final = (1 << 63) - 1
"""The last moment that a state file can keep, in the year 2262."""


def now(*earlier: Nanoseconds) -> Nanoseconds:
    """The time of day; not before `earlier`, which have happened already, whatever the clock says."""
    return max(min(_time_ns(), LATEST), 0, *earlier)


def start_of_run() -> Nanoseconds:
    """The time at which a run is accepted. Raises StateUnavailable if the clock is so wrong that it cannot be kept."""
    moment = _time_ns()
    if not 0 <= moment <= LATEST:
        raise StateUnavailable("the clock of the gateway is wrong: it has to be set to a year from 1970 to 2262")
    return moment


def _time_ns() -> int:
    try:
        return time.time_ns()
    except OverflowError:  # The interpreter cannot tell such a time.
        return LATEST + 1
