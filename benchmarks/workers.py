"""Following a run through the workers of a gateway: what an update costs the process with the runtime, per worker."""

import time
from typing import Final

from benchmarks.measure import BOTH_CORES, SETTLE, follow, server, streamed
from benchmarks.scenarios import Metrics, following

CHANGES: Final = 200
"""The changes a second of the run: so few that no worker skips one."""

FOLLOWERS: Final = 64
"""Streams, each on a connection of its own, so that each worker has some."""


def followed_through(workers: int, seconds: float) -> Metrics:
    """Measure the updates of one run that is followed through each worker.

    What the process with the runtime uses while nobody follows, for the same changes, is not counted.
    """
    with server("benchmarks.served", "--workers", str(workers), cores=BOTH_CORES) as target:
        target.command(rate=CHANGES)
        time.sleep(SETTLE)
        unfollowed, begun = target.cpu_seconds(), time.monotonic()
        time.sleep(SETTLE)
        unfollowed, lasted = target.cpu_seconds() - unfollowed, time.monotonic() - begun
        with follow(target, following(1), FOLLOWERS, connections=FOLLOWERS, seconds=seconds) as load:
            measured = streamed(load, target, CHANGES)
    measured_seconds = measured.end["seconds"]
    parent = measured.cpu_seconds - unfollowed / lasted * measured_seconds
    return {**measured.metrics(), "parent_us_per_update": parent / (CHANGES * measured_seconds * workers) * 1e6}
