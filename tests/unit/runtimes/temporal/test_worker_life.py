"""Workers of the SDK begin again after they have failed, get new clients, and stop within a bounded time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from gateway.core.errors import Unavailable
from gateway.runtimes.temporal import worker_life
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.worker_life import DRAIN_SECONDS, STOP_SECONDS, WorkerLife
from gateway.server.signals import EXIT_SECONDS

CLIENT, OTHER = cast(Client, object()), cast(Client, object())


class ScriptedWorker:
    """Runs until it is told to stop, or as a script says."""

    def __init__(self, client: Client, script: Callable[[], Awaitable[None]] | None) -> None:
        self.client = client
        self.running = asyncio.Event()
        self.done = asyncio.Event()
        self._stopped = asyncio.Event()
        self._script = script

    async def run(self) -> None:
        self.running.set()
        try:
            await (self._stopped.wait() if self._script is None else self._script())
        finally:
            self.done.set()

    async def shutdown(self) -> None:
        self._stopped.set()
        await self.done.wait()


class ScriptedConnection:
    """Gives a client, after as many refusals as are left."""

    def __init__(self) -> None:
        self.on_worker_client: Any = None
        self.refusals = 0

    async def worker_client(self) -> Client:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("away")
        return CLIENT


class Lives:
    """A life, and the workers that it has made."""

    def __init__(self, *scripts: Callable[[], Awaitable[None]] | None) -> None:
        self.connection = ScriptedConnection()
        self.made: list[list[ScriptedWorker]] = []
        self._scripts = list(scripts)
        self._another = asyncio.Event()
        self.life = WorkerLife(cast(TemporalConnection, self.connection), self._make)

    def _make(self, client: Client) -> list[Worker]:
        script = self._scripts.pop(0) if self._scripts else None
        self.made.append([ScriptedWorker(client, script), ScriptedWorker(client, None)])
        self._another.set()
        return cast(list[Worker], self.made[-1])

    async def round(self, number: int) -> list[ScriptedWorker]:
        """The workers of a round, when they run."""
        while len(self.made) <= number:
            self._another.clear()
            await self._another.wait()
        for worker in self.made[number]:
            await worker.running.wait()
        return self.made[number]


async def broken() -> None:
    raise RuntimeError("the namespace\nis gone")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_DELAY", "LAST_DELAY", "DRAIN_SECONDS", "STOP_SECONDS"):
        monkeypatch.setattr(worker_life, name, 0.01)


async def test_all_begin_again_when_one_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    lives = Lives(broken, broken)
    lives.life.start()
    await lives.round(2)
    assert all(worker.done.is_set() for made in lives.made[:2] for worker in made)
    assert "the workers of the engine have failed, and begin again in" in caplog.text
    assert "the namespace is gone" in caplog.text
    await lives.life.stop()
    assert all(worker.done.is_set() for worker in lives.made[2])
    assert len(lives.made) == 3


async def test_an_engine_that_is_away_is_waited_for() -> None:
    lives = Lives()
    lives.connection.refusals = 3
    lives.life.start()
    await lives.round(0)
    assert lives.connection.refusals == 0
    await lives.life.stop()


async def test_workers_get_another_client() -> None:
    lives = Lives()
    lives.life.start()
    workers = await lives.round(0)
    lives.connection.on_worker_client(OTHER)
    assert [worker.client for worker in workers] == [OTHER, OTHER]
    await lives.life.stop()


async def test_stopping_does_not_wait_for_a_worker_that_does_not_end() -> None:
    forever = asyncio.Event()

    async def deaf() -> None:
        await forever.wait()

    lives = Lives(deaf)
    lives.life.start()
    await lives.round(0)
    await lives.life.stop()
    assert lives.made[0][0].done.is_set()


async def test_stopping_before_there_are_workers() -> None:
    lives = Lives()
    await lives.life.stop()
    lives.connection.refusals = 1 << 30
    lives.life.start()
    await lives.life.stop()
    assert not lives.made


def test_a_stop_takes_little_more_than_half_of_the_time_that_a_process_has_to_end() -> None:
    assert DRAIN_SECONDS + STOP_SECONDS <= EXIT_SECONDS - 2
