import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from gateway.concurrency.batches import BATCH
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Overloaded, Unavailable
from gateway.core.model import ResultOrder, SubmitParams
from gateway.core.position import Position
from gateway.core.runtime import RESULT_PAGE_BYTES
from gateway.runs.shared_reads import SHARED_BYTES, SHARED_UPDATES, SharedReads
from gateway.runs.update import Update
from tests.support.scripted_runtime import FLOW, ScriptedRuntime
from tests.support.tasks import all_ended

BEGINNING = Position(ResultOrder.BY_INDEX)


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
def account() -> MemoryAccount:
    return MemoryAccount(128 << 20)


@pytest.fixture
async def reads(runtime: ScriptedRuntime, account: MemoryAccount) -> AsyncIterator[SharedReads]:
    yield SharedReads(runtime, account.share())
    await all_ended()


async def submit(runtime: ScriptedRuntime, items: int = 4) -> str:
    flow_id = await runtime.put_blob(FLOW)
    return (await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["null"] * items), "")).status.run_id


async def read(reads: SharedReads, runtime: ScriptedRuntime, run_id: str, position: Position = BEGINNING) -> Update:
    return await reads.after(await runtime.get(run_id), position, last=True)


async def test_results_are_read_once_for_all_at_the_same_point(reads: SharedReads, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime, items=1)
    await runtime.succeed(0)
    updates = await asyncio.gather(*(read(reads, runtime, run_id) for _ in range(3 * BATCH)))
    updates.append(await read(reads, runtime, run_id))
    assert len({id(update) for update in updates}) == 1
    assert len(runtime.pages) == 1


async def test_results_of_a_run_are_not_those_of_one_that_had_its_id(
    reads: SharedReads, runtime: ScriptedRuntime
) -> None:
    run_id = await submit(runtime, items=1)
    await runtime.succeed(0)
    snapshot = await runtime.get(run_id)
    later = replace(snapshot, status=replace(snapshot.status, created_at=snapshot.status.created_at + 1))
    first = await reads.after(snapshot, BEGINNING, last=True)
    second = await reads.after(later, BEGINNING, last=True)
    assert (first.status.created_at, second.status.created_at) == (snapshot.status.created_at, later.status.created_at)
    assert len(runtime.pages) == 2


async def test_a_reading_goes_on_for_the_others_when_one_leaves(reads: SharedReads, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime, items=1)
    await runtime.succeed(0)
    runtime.reading.clear()
    readers = [asyncio.create_task(read(reads, runtime, run_id)) for _ in range(3)]
    await runtime.asked.wait()
    readers[0].cancel()
    runtime.reading.set()
    gone, *others = await asyncio.gather(*readers, return_exceptions=True)
    assert isinstance(gone, asyncio.CancelledError)
    assert all(isinstance(update, Update) for update in others)
    assert len(runtime.pages) == 1


async def test_a_reading_that_everybody_has_left_ends(
    reads: SharedReads, runtime: ScriptedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = await submit(runtime, items=1)
    await runtime.succeed(0)
    runtime.reading.clear()
    reader = asyncio.create_task(read(reads, runtime, run_id))
    await runtime.asked.wait()
    reader.cancel()
    runtime.defect = ConnectionError("gone")
    runtime.reading.set()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await all_ended()
    del reader
    gc.collect()  # A task that fails unheard says so at its end.
    assert caplog.records == []


async def test_a_failed_reading_fails_for_all_and_is_tried_again(reads: SharedReads, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime, items=1)
    await runtime.succeed(0)
    state = await runtime.get(run_id)
    runtime.defect = ConnectionError("gone")
    readers = [reads.after(state, BEGINNING, last=True) for _ in range(3)]
    for outcome in await asyncio.gather(*readers, return_exceptions=True):
        assert isinstance(outcome, ConnectionError)
    runtime.defect = None
    assert (await read(reads, runtime, run_id)).status.results
    assert len(runtime.pages) == 2


@pytest.mark.parametrize(
    ("items", "size", "kept"),
    [
        pytest.param(SHARED_UPDATES + 3, 1, SHARED_UPDATES, id="number"),
        pytest.param(20, RESULT_PAGE_BYTES - 2, SHARED_BYTES // (RESULT_PAGE_BYTES + 256), id="memory"),
        pytest.param(3, SHARED_BYTES, 1, id="the latest, whatever its size"),
    ],
)
async def test_what_is_kept_to_be_shared_is_bounded(
    reads: SharedReads, runtime: ScriptedRuntime, items: int, size: int, kept: int
) -> None:
    run_id = await submit(runtime, items=items)
    for index in range(items):
        await runtime.succeed(index, '"' + "x" * size + '"')
    runtime.page_length = 1
    positions = [BEGINNING._replace(indexes=index) for index in range(items)]
    for position in positions:
        await read(reads, runtime, run_id, position)
    assert len(runtime.pages) == items
    for position in positions[-kept:]:
        await read(reads, runtime, run_id, position)
    assert len(runtime.pages) == items
    await read(reads, runtime, run_id, positions[-kept - 1])
    assert len(runtime.pages) == items + 1


async def test_what_is_shared_is_counted_once_and_until_nobody_has_it(
    reads: SharedReads, runtime: ScriptedRuntime, account: MemoryAccount
) -> None:
    run_id = await submit(runtime)
    for index in range(4):
        await runtime.succeed(index, f'"{"x" * 1_000_000}"')
    updates = await asyncio.gather(*(read(reads, runtime, run_id) for _ in range(10)))
    assert 1_000_000 < account.held < 1_100_000
    position = updates[0].position
    updates.append(await read(reads, runtime, run_id, position))
    assert 2_000_000 < account.held < 2_200_000
    await reads.close()
    assert account.held > 2_000_000, "those who have the updates hold them"
    del updates
    assert account.held == 0


async def test_results_that_find_no_room_are_refused(runtime: ScriptedRuntime) -> None:
    account = MemoryAccount(1 << 20)
    reads = SharedReads(runtime, account.share())
    run_id = await submit(runtime, items=1)
    await runtime.succeed(0, f'"{"x" * 600_000}"')
    with pytest.raises(Overloaded):
        await read(reads, runtime, run_id)
    assert account.held == 0


async def test_closing_ends_reading(reads: SharedReads, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime, items=2)
    await runtime.succeed(0)
    runtime.reading.clear()
    reading = asyncio.create_task(read(reads, runtime, run_id))
    await runtime.asked.wait()
    await reads.close()
    with pytest.raises(Unavailable):
        await reading
    with pytest.raises(Unavailable):
        await read(reads, runtime, run_id)
    await reads.close()
