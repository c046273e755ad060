"""Watching the tasks of the event loop."""

import asyncio

LIMIT = 30.0
"""Seconds after which a task that should end counts as one that never does."""


async def all_ended() -> None:
    """Wait until no task is left but the caller's; TimeoutError if one stays."""
    async with asyncio.timeout(LIMIT):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
