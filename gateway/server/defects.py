"""Stopping a gateway that must not go on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.core.readiness import BrokenError, Readiness


@contextmanager
def ended_by_defects(readiness: Readiness) -> Iterator[None]:
    """End the block when a defect is reported, by cancelling the task that executes it. Raises BrokenError then."""
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        task.cancel(end)

    readiness.on_defect(end)
    try:
        yield
    except asyncio.CancelledError as cancelled:
        if readiness.defect is None or cancelled.args != (end,):
            raise
        task.uncancel()
        raise BrokenError(readiness.defect) from None
    finally:
        readiness.on_defect(None)
