"""What the workers of a gateway have counted.

A worker that has died, or that hangs, had counted something as well: no counter ever goes down.
"""

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from gateway.core.socket_directory import metrics_socket
from gateway.server.metrics_socket import ask_metrics
from gateway.telemetry.gateway_metrics import FOLLOWED_RUNS, FOLLOWED_SETS, UPSTREAM_WATCHES
from gateway.telemetry.metrics import MetricFamily, added

_KNOWN_HERE: Final = frozenset({FOLLOWED_RUNS.name, FOLLOWED_SETS.name, UPSTREAM_WATCHES.name})
"""What the process with the runtime tells of all: workers follow there what their clients follow, once for all of them.
"""


class WorkersMetrics:
    """What the workers of a gateway have counted, the earlier ones included. `processes` are those that there are now.

    Their sockets are in `directory`.
    """

    def __init__(self, directory: str, processes: Callable[[], Iterable[Process]]) -> None:
        self._directory = directory
        self._processes = processes
        self._told: dict[Process, list[MetricFamily]] = {}
        """What each worker has told last."""
        self._of_earlier: list[MetricFamily] = []

    async def collect(self) -> list[list[MetricFamily]]:
        """Ask all workers. One call must have ended before the next one begins."""
        workers = [*self._processes()]
        answers = await asyncio.gather(*(ask_metrics(self._socket(worker)) for worker in workers))
        await self._bury(self._told.keys() - set(workers), {worker.pid for worker in workers})
        collected = [self._of_earlier]
        for worker, told in zip(workers, answers, strict=True):
            answer = None if told is None else [family for family in told if family.name not in _KNOWN_HERE]
            if answer is not None:
                self._told[worker] = answer
            collected.append(_lasting(self._told.get(worker, [])) if answer is None else answer)
        return collected

    async def _bury(self, dead: set[Process], taken: set[int]) -> None:
        """Keep what dead workers had counted; the ids that are `taken` are those of others now."""
        for worker in dead:
            left = _lasting(self._told.pop(worker))
            self._of_earlier = await asyncio.to_thread(added, [self._of_earlier, left])
            if worker.pid not in taken:
                with suppress(OSError):
                    os.unlink(self._socket(worker))

    def _socket(self, worker: Process) -> str:
        return metrics_socket(self._directory, worker.pid)


def _lasting(families: Iterable[MetricFamily]) -> list[MetricFamily]:
    """What a process leaves: what it has counted, but not how things stood."""
    return [family for family in families if family.kind != "gauge"]
