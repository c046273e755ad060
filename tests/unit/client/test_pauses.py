import asyncio
import threading

import pytest

from gateway.client import AsyncRunsClient, RunsClient
from gateway.client.pauses_async import AsyncPauses
from gateway.client.pauses_blocking import Pauses
from tests.support.free_port import free_port

HOUR = 3600.0


async def test_a_pause_ends_by_itself() -> None:
    await AsyncPauses().pause(0.0)
    Pauses().pause(0.0)


async def test_an_end_ends_pauses_and_later_ones_at_once() -> None:
    pauses = AsyncPauses()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(pauses.pause(HOUR))
        await asyncio.sleep(0)
        pauses.end()
    await pauses.pause(HOUR)


async def test_a_pause_can_be_cancelled() -> None:
    pause = asyncio.create_task(AsyncPauses().pause(HOUR))
    await asyncio.sleep(0)
    pause.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pause


def test_another_thread_ends_pauses() -> None:
    pauses = Pauses()
    threading.Thread(target=pauses.end).start()
    pauses.pause(HOUR)
    pauses.pause(HOUR)


async def test_a_client_that_is_closed_ends_its_retries() -> None:
    client = AsyncRunsClient(f"127.0.0.1:{free_port()}", retry_for=None, timeout=HOUR)
    get = asyncio.create_task(client.cancel("run"))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(ValueError, match="the client is closed"):
        await get


def test_a_blocking_client_that_is_closed_by_another_thread_ends_its_retries() -> None:
    client = RunsClient(f"127.0.0.1:{free_port()}", retry_for=None, timeout=HOUR)
    threading.Thread(target=client.close).start()
    with pytest.raises(ValueError, match="closed"):
        client.cancel("run")
