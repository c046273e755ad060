"""Keeps the workers of the SDK at work: while the engine is away, after they have failed, and with new credentials."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from temporalio.client import Client
from temporalio.worker import Worker

from gateway.concurrency.tasks import create_shared_task
from gateway.core.backoff import Backoff
from gateway.core.errors import GatewayError
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.telemetry.log_text import shortened

DRAIN_SECONDS: Final = 2.0
"""How long items that execute have to end when the gateway stops. Others execute those again that have not."""

STOP_SECONDS: Final = 0.5
"""How long it may take after that to tell the engine what has ended. It may be away, and then all of it passes."""

FIRST_DELAY: Final = 0.5
LAST_DELAY: Final = 30.0
"""Seconds until workers that have failed begin again: the first time, and at most."""

STEADY_SECONDS: Final = 60.0
"""Workers that fail after so long did work: they begin again as if it were the first time."""

_LONGEST: Final = 300
"""How much of what the SDK says is told."""

_log = logging.getLogger(__name__)


class WorkerLife:
    """Runs the workers that `make` makes for a client, from `start` until `stop`: all of them, or none."""

    def __init__(self, connection: TemporalConnection, make: Callable[[Client], Sequence[Worker]]) -> None:
        self._connection = connection
        self._make = make
        self._workers: Sequence[Worker] = ()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin when the engine is there."""
        self._connection.on_worker_client = self._use
        self._task = create_shared_task(self._run())

    async def stop(self) -> None:
        """Take nothing more, wait for what ends soon, and leave the rest to other gateways."""
        task, self._stopping = self._task, True
        if task is None:
            return
        if not self._workers:
            task.cancel()
        endings = [asyncio.create_task(worker.shutdown()) for worker in self._workers]
        await asyncio.wait({task}, timeout=DRAIN_SECONDS + STOP_SECONDS)
        for each in (task, *endings):
            each.cancel()
        await asyncio.gather(task, *endings, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)
        while not self._stopping:
            began = loop.time()
            try:
                await self._work(await self._connection.worker_client())
            except GatewayError:
                # The engine is away, or refuses this gateway: the connection has logged it, and looks for it.
                await asyncio.sleep(FIRST_DELAY)
            except Exception as error:
                if loop.time() - began > STEADY_SECONDS:
                    backoff.reset()
                delay = backoff.next()
                what = shortened(" ".join(str(error).split()), _LONGEST)
                _log.error("the workers of the engine have failed, and begin again in %.1f s: %s", delay, what)
                await asyncio.sleep(delay)

    async def _work(self, client: Client) -> None:
        """Let workers work until they are told to stop, or one of them fails; raises what it has failed with."""
        workers = self._workers = self._make(client)
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*(worker.shutdown() for worker in workers))
        finally:
            self._workers = ()
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def _use(self, client: Client) -> None:
        for worker in self._workers:
            worker.client = client
