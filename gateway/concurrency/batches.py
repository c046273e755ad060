"""Thousands of short calls, a few in each turn of the event loop."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice

BATCH = 32
"""How many calls are made in one turn of the event loop. What a call wakes takes some 20 us, and all other work must
have a turn in between."""


def call_in_batches(calls: Iterator[Callable[[], None]], then: Callable[[], None] | None = None) -> None:
    """Make all calls, the first of them at once, and then call `then`."""
    batch = list(islice(calls, BATCH))
    for call in batch:
        call()
    if len(batch) == BATCH:
        asyncio.get_running_loop().call_soon(call_in_batches, calls, then)
    elif then is not None:
        then()
