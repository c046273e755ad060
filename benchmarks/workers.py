"""Following runs through workers: what an update costs the process with the runtime, for each worker."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.measure import LOAD_CORE, SETTLE, Server, server
from benchmarks.scenarios import Metrics

RUNS: Final = 100
CHANGES: Final = 5_000
"""The runs that each worker follows, and the changes a second of all of them, in turn."""

_LOAD: Final = frozenset({LOAD_CORE})


def followed_through(workers: int, seconds: float) -> Metrics:
    """Measure the updates of runs that are followed over the links of so many workers.

    What the process with the runtime uses while nobody follows, for the same changes, is not counted.
    """
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        path = str(Path(directory, "link.sock"))
        target = stack.enter_context(server("benchmarks.served", "--runs", str(RUNS), "--link", path))
        target.command(rate=CHANGES)
        time.sleep(SETTLE)
        unfollowed = _share(target, SETTLE)
        links = [
            stack.enter_context(server("benchmarks.linked", "--path", path, "--runs", str(RUNS), cores=_LOAD))
            for _ in range(workers)
        ]
        time.sleep(SETTLE)
        told, begun = _updates(links), time.monotonic()
        followed = _share(target, seconds)
        told, lasted = _updates(links) - told, time.monotonic() - begun
    return {
        "updates_per_s": told / lasted,
        "cpu_share": followed,
        "parent_us_per_update": (followed - unfollowed) / (told / lasted) * 1e6,
    }


def _share(target: Server, seconds: float) -> float:
    """The part of a core that a server uses, from now on for so many seconds."""
    cpu, begun = target.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (target.cpu_seconds() - cpu) / (time.monotonic() - begun)


def _updates(links: list[Server]) -> int:
    return sum(link.command()["updates"] for link in links)
