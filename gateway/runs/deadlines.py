"""When a call that waits has to answer."""

import time

DEADLINE_MARGIN = 0.1
"""Seconds before its deadline at which a waiting call answers with the current status: time to send the answer."""


def waiting_ends(timeout: float | None, deadline: float | None) -> float | None:
    """When waiting ends, as a value of `time.monotonic()`; None for never.

    `timeout` is in seconds from now, `deadline` a value of `time.monotonic()` by which the caller must have its answer.
    """
    if deadline is not None:
        deadline -= DEADLINE_MARGIN
    if timeout is None:
        return deadline
    end = time.monotonic() + timeout
    return end if deadline is None else min(end, deadline)
