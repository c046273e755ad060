"""When a call that waits has to answer."""

import time

LEAST_MARGIN = 0.1
"""Seconds that are kept for the answer of a call that waits, however little time the call has."""

MOST_MARGIN = 1.0
"""Seconds that are kept for it at most: enough for the way round the world, twice."""

MARGIN_SHARE = 0.1
"""The share of the time of a call that is kept for its answer, between the two."""


def time_to_answer(remaining: float) -> float:
    """When a call that ends in `remaining` seconds has to answer at the latest, as a value of `time.monotonic()`.

    The deadline is that of both sides, and the answer has its way to go.
    """
    return time.monotonic() + remaining - max(LEAST_MARGIN, min(MOST_MARGIN, remaining * MARGIN_SHARE))


def waiting_ends(timeout: float | None, answer_by: float | None) -> float | None:
    """When waiting ends, as a value of `time.monotonic()`; None for never.

    `timeout` is in seconds from now, `answer_by` what `time_to_answer` says of a call that has a deadline.
    """
    if timeout is None:
        return answer_by
    end = time.monotonic() + timeout
    return end if answer_by is None else min(end, answer_by)
