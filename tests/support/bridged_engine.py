"""Engines whose tasks go to a queue, for a bridge to execute."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.engine import Engine, with_plugin

QUEUE: Final = "components"

ITSELF: Final = ("--orchestrator-id", "engine")
"""Arguments for an engine that restarts: it takes its runs up at once, and does not take them for those of another."""


def config(release: str, folder: Path, *, queue_seconds: int = 30, route: str = "/sdk") -> dict[str, Any]:
    """Components under `route` are the queue's, where tasks may lie for `queue_seconds`. State survives the engine."""
    plugin = {"type": "grpc", "queueName": QUEUE, "queueTimeoutSecs": queue_seconds}
    return with_plugin(release, folder, route, plugin)


@asynccontextmanager
async def bridged_engine(
    release: str, folder: Path, *, queue_seconds: int = 30, route: str = "/sdk"
) -> AsyncIterator[Engine]:
    """A running engine."""
    engine = Engine(release, folder, config(release, folder, queue_seconds=queue_seconds, route=route))
    await engine.start(*ITSELF)
    try:
        yield engine
    finally:
        await engine.stop()
