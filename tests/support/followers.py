"""Waiting for who follows runs."""

import asyncio
from collections.abc import Callable

from gateway.runs.service import RunsService
from tests.support.tasks import LIMIT


async def followed(service: RunsService, count: int) -> None:
    """Wait until runs are followed by `count` calls; TimeoutError if they never are."""
    await _turn_until(lambda: sum(len(topic._watches) for topic in service.hub._topics.values()) == count)


async def unwatched(service: RunsService) -> None:
    """Wait until no run is watched; TimeoutError if one stays."""
    await _turn_until(lambda: len(service.hub) == 0)


async def _turn_until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn: the hub has no business announcing to tests who follows."""
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)
