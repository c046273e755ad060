"""What activities tell the engine, and the log, when they cannot be done."""

from types import SimpleNamespace
from typing import cast

import pytest
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment

from gateway.core.errors import Unavailable
from gateway.runtimes.temporal.activities import Activities
from gateway.runtimes.temporal.chunk_execution import ChunkExecution
from gateway.runtimes.temporal.messages import ItemChunk, PartsToKeep
from gateway.runtimes.temporal.nested_cancels import NestedCancels
from gateway.storage.objects import ObjectStore

RUN_ID = "00000000-0000-0000-0000-000000000000"


async def away(*_: object) -> None:
    raise Unavailable("the object storage cannot be reached", retry_after=1.0)


async def broken(*_: object) -> None:
    raise ValueError("a defect")


def activities(work: object) -> Activities:
    """Those for which `work` does whatever there is to do."""
    chunks = cast(ChunkExecution, SimpleNamespace(execute=work))
    store = cast(ObjectStore, SimpleNamespace(put=work))
    return Activities(chunks, store, cast(NestedCancels, SimpleNamespace(cancel=work)))


@pytest.mark.parametrize("name", ["execute_chunk", "keep_index", "cancel_nested"])
async def test_what_is_tried_again_is_no_defect(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """The SDK logs neither it nor its stack."""
    activity = getattr(activities(away), name)
    wanted = PartsToKeep(RUN_ID, 0, ())
    with pytest.raises(ApplicationError) as raised:
        await ActivityEnvironment().run(activity, wanted)
    assert raised.value.category is ApplicationErrorCategory.BENIGN
    assert (raised.value.type, raised.value.non_retryable) == ("Unavailable", False)
    [line] = [record.getMessage() for record in caplog.records if "activities" in record.name]
    assert line == "a part of a run cannot be done now, and is tried again: the object storage cannot be reached"
    assert not any(record.exc_info for record in caplog.records)


async def test_a_defect_is_told_as_one() -> None:
    with pytest.raises(ValueError, match="a defect"):
        await ActivityEnvironment().run(activities(broken).execute_chunk, cast(ItemChunk, None))
