"""The activities: what a workflow has gateways do."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from gateway.core.errors import GatewayError
from gateway.core.internal_errors import release_frames
from gateway.runtimes.temporal.chunk_execution import ChunkExecution
from gateway.runtimes.temporal.chunk_split import count_ended
from gateway.runtimes.temporal.heartbeat import Heartbeat
from gateway.runtimes.temporal.kept_results import get_results, put_parts, put_results
from gateway.runtimes.temporal.messages import (
    CANCEL_NESTED,
    EXECUTE_CHUNK,
    KEEP_INDEX,
    KEEP_PART,
    ChunkDone,
    ItemChunk,
    NestedToCancel,
    PartsToKeep,
    ResultsPart,
)
from gateway.runtimes.temporal.nested_cancels import NestedCancels
from gateway.runtimes.temporal.run_names import index_key, part_key
from gateway.storage.objects import ObjectStore
from gateway.telemetry.temporal_metrics import CHUNKS_EXECUTED

_log = logging.getLogger(__name__)


class Activities:
    """See the module."""

    def __init__(self, chunks: ChunkExecution, store: ObjectStore, nested: NestedCancels) -> None:
        self._chunks = chunks
        self._store = store
        self._nested = nested

    @activity.defn(name=EXECUTE_CHUNK)
    async def execute_chunk(self, chunk: ItemChunk) -> ChunkDone:
        """Execute items."""
        with _tried_again():
            done = await self._chunks.execute(chunk)
        CHUNKS_EXECUTED.labels().value += 1
        if done.part is not None:
            count_ended(done.part)
        return done

    @activity.defn(name=KEEP_PART)
    async def keep_part(self, wanted: PartsToKeep) -> ResultsPart:
        """Put results together into an object."""
        with Heartbeat(), _tried_again():
            found = [await get_results(self._store, part) for part in wanted.parts]
            key = part_key(wanted.run_id, wanted.place, secrets.token_hex(4))
            return await put_results(self._store, key, list(chain.from_iterable(found)))

    @activity.defn(name=KEEP_INDEX)
    async def keep_index(self, wanted: PartsToKeep) -> ResultsPart:
        """Put parts together into an object that tells where their results are."""
        with Heartbeat(), _tried_again():
            key = index_key(wanted.run_id, wanted.place, secrets.token_hex(4))
            return await put_parts(self._store, key, wanted.parts)

    @activity.defn(name=CANCEL_NESTED)
    async def cancel_nested(self, wanted: NestedToCancel) -> None:
        """Cancel the runs inside a cancelled run."""
        with Heartbeat(), _tried_again():
            await self._nested.cancel(wanted)


@contextmanager
def _tried_again() -> Iterator[None]:
    """A block of an activity. The engine has it done again, by any gateway, if it cannot be done now.

    The SDK takes every other error for a defect, and logs the stack for each attempt: outages have thousands of them.
    """
    try:
        yield
    except GatewayError as error:
        _log.warning("a part of a run cannot be done now, and is tried again: %s", error.message)
        release_frames(error)
        kind = type(error).__name__
        raise ApplicationError(error.message, type=kind, category=ApplicationErrorCategory.BENIGN) from None
