"""The journal of `:memory:`: dictionaries, bounded in size."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from functools import cached_property
from typing import Final

from msgspec import Struct, field

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.clock import now
from gateway.core.errors import RunNotFound, TooLarge
from gateway.core.model import Blob, BlobType, ItemResult, JsonText, ResultOrder, RunState
from gateway.core.packed_texts import PackedTexts
from gateway.core.run_filter import RunFilter
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page, fill_page, result_page, text_size
from gateway.flows.item_log import StoppedItem
from gateway.flows.run_ids import key_of
from gateway.flows.run_owners import blob_id_of_key, namespace_of_blob
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.changes import Changes, Removal, Tombstone
from gateway.runtimes.embedded.journal import (
    FINISHED_ITEMS,
    Completion,
    Ended,
    FinishedItems,
    FoundRun,
    Journal,
    KeptItems,
    UnfinishedRun,
    of_page,
)
from gateway.runtimes.embedded.memory_changes import MemoryChanges
from gateway.runtimes.embedded.memory_index import MemoryIndex
from gateway.runtimes.embedded.memory_upkeep import MemoryUpkeep
from gateway.runtimes.embedded.run_search import is_exact, scan

STATE_FRACTION: Final = 0.375
"""The part of the account of memory that the state may take: requests and answers need more than half of it."""

RUN_BYTES: Final = 640
"""What a run takes besides its payloads: its record and ids (350 bytes), and entries in dictionaries."""

ITEM_BYTES: Final = 352
"""What a result takes besides its texts: the message with its dictionary (210 bytes), and its place by item (100)."""

STEPS_BYTES: Final = 140
"""What steps that are kept take besides their bytes."""

ERROR_BYTES: Final = 192
"""What the error of a result takes besides its texts."""

WINDOW: Final = 1_024
"""How many results are looked at before everything else has a turn: some 0.1 ms."""

_SIZED_AT_ONCE: Final = 4_096

_NO_PLACES: Final[dict[int, int]] = {}

_NO_STEPS: Final[dict[int, bytes]] = {}


class _Kept(Struct, eq=False):
    """A run. `places` are those of the results, by item; it is empty if the run was accepted with its results.

    `steps` is what is kept of steps, by item; also of items without results, which a cancel has stopped.
    """

    record: RunRecord
    inputs: Sequence[JsonText]
    outcome: Outcome | None = None
    results: list[ItemResult] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    steps: dict[int, bytes] = field(default_factory=dict)
    size: int = RUN_BYTES
    inputs_size: int = 0


class MemoryJournal(Journal):
    """Loses everything at the end of the process.

    What it keeps draws from an account, by what it takes in memory. When STATE_FRACTION of that is full, finished runs
    are forgotten, the oldest first.
    """

    def __init__(self, account: MemoryAccount | None = None) -> None:
        self._memory = (account or MemoryAccount()).part(STATE_FRACTION, "state")
        self._blobs: dict[str, Blob] = {}
        self._keys_of_blobs: dict[str, list[str]] = {}
        self._runs: dict[str, _Kept] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._index = MemoryIndex()
        self._changes = MemoryChanges(self._ended_run)
        self._stored: Counter[str] = Counter()

    @cached_property
    def upkeep(self) -> MemoryUpkeep:
        return MemoryUpkeep(self._index.has_flow, self._remove_blob)

    async def put_blob(self, key: str, blob: Blob) -> None:
        known = self._blobs.get(key)
        if known is None:
            self._reserve(size := sys.getsizeof(blob.content))
            self._stored[namespace_of_blob(key)] += size
            self._blobs[key] = blob
            self._keys_of_blobs.setdefault(blob_id_of_key(key), []).append(key)
        elif blob.type is BlobType.FLOW:
            self._blobs[key] = known._replace(type=BlobType.FLOW)
        self.upkeep.put(key, now())

    async def get_blob(self, key: str) -> Blob | None:
        return self._blobs.get(key)

    async def peek_blob(self, key: str) -> Blob | None:
        return self._blobs.get(key)

    async def find_blob(self, blob_id: str) -> str | None:
        return min(self._keys_of_blobs.get(blob_id, ()), default=None)

    async def _create(self, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None) -> RunRecord | None:
        size = 0 if ended is not None else await _inputs_size(inputs)
        if record.key is not None and (taken := await self.find(record.scope, record.key)) is not None:
            return taken
        if ended is None:
            kept = _Kept(record, inputs, inputs_size=size)
            size += ITEM_BYTES * record.total
        else:
            kept = _Kept(record, (), ended.outcome, list(ended.results), _NO_PLACES, _NO_STEPS)
            size = sum(map(_result_size, ended.results))
        kept.size += size
        self._reserve(kept.size)
        run_id = record.run_id
        self._stored[record.namespace] += kept.size
        self._runs[run_id] = kept
        self._index.add(record, None if ended is None else ended.outcome.status)
        if record.key is not None:
            self._keys[record.scope, record.key] = run_id
        if ended is not None:
            self._changes.end(ended.outcome.changed or key_of(run_id) or 0, run_id)
        return None

    async def _complete(
        self, run_id: str, completions: Sequence[Completion], outcome: Outcome | None, stopped: Sequence[StoppedItem]
    ) -> None:
        kept = self._runs[run_id]
        # Their room was made when the run was accepted, but for their texts.
        size = sum(_result_size(completion.result) - ITEM_BYTES for completion in completions)
        size += sum(STEPS_BYTES + len(completion.steps) for completion in completions if completion.steps)
        size += sum(STEPS_BYTES + len(item.kept) for item in stopped)
        self._forget(size)
        self._memory.add(size)
        self._stored[kept.record.namespace] += size
        kept.size += size
        for completion in completions:
            kept.results.append(completion.result)
            kept.places[completion.result.item_index] = completion.place
            if completion.steps is not None:
                kept.steps[completion.result.item_index] = completion.steps
        if outcome is not None and kept.outcome is None:
            kept.steps.update(stopped)
            kept.outcome = outcome
            self._index.end(kept.record, outcome.status)
            self._release_inputs(kept)
            self._changes.end(outcome.changed or 0, run_id)

    async def _delete(self, runs: Sequence[tuple[RunRecord, Outcome]], removals: Sequence[Removal]) -> set[str]:
        deleted = set()
        for removal in removals:
            kept = self._runs.get(removal.tombstone.run_id)
            if kept is not None and kept.outcome is not None:
                self._remove(kept, removal)
                deleted.add(kept.record.run_id)
        return deleted

    async def load(self, run_id: str) -> tuple[RunRecord, Outcome | None] | None:
        kept = self._runs.get(run_id)
        return None if kept is None else (kept.record, kept.outcome)

    async def find(self, scope: str, key: str) -> RunRecord | None:
        run_id = self._keys.get((scope, key))
        return None if run_id is None else self._runs[run_id].record

    async def unfinished(self, after: int) -> list[UnfinishedRun]:
        return []

    async def finished_items(self, run_id: str, start: int) -> FinishedItems:
        kept = self._runs[run_id]
        indexes = range(start, min(start + FINISHED_ITEMS, kept.record.total))
        places = [kept.places.get(index) for index in indexes]
        failed = sum(kept.results[place].status is RunState.FAILED for place in places if place is not None)
        return FinishedItems(bytes(place is not None for place in places), failed)

    async def inputs(self, run_id: str, start: int) -> list[JsonText]:
        return fill_page(self._runs[run_id].inputs[start : start + RESULT_PAGE_LENGTH], len)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        kept = self._runs.get(run_id)
        if kept is None:
            raise RunNotFound(f"the run '{run_id}' has been forgotten to make room")
        if not kept.places:
            return fill_page(of_page(kept.results, page), text_size)
        rest: Page | None = page
        found: list[ItemResult] = []
        while rest is not None and not found:
            found, rest = _read_window(kept, rest)
            if rest is not None:
                await asyncio.sleep(0)
        return found

    def stored_bytes(self, namespace: str) -> int:
        return self._stored[namespace]

    async def search(
        self, wanted: RunFilter, after: int | None, *, newest_first: bool
    ) -> AsyncGenerator[list[FoundRun], None]:
        self._index.make_up()
        for keys in scan(self._index, wanted, after, newest_first=newest_first):
            if found := [run for key in keys if (run := self._found(key)) is not None]:
                yield found
            await asyncio.sleep(0)

    async def count(self, wanted: RunFilter) -> int | None:
        if not is_exact(wanted):
            return None
        number = 0
        self._index.make_up()
        for keys in scan(self._index, wanted, None, newest_first=False, exact=True):
            number += len(keys)
            await asyncio.sleep(0)
        return number

    async def read_changes(self, after: int, until: int) -> Changes:
        return self._changes.read(after, until)

    def forgotten(self, namespace: str | None) -> int:
        return self._changes.forgotten(namespace)

    async def items(self, run_id: str, start: int, stop: int, states: Collection[RunState]) -> KeptItems:
        kept = self._runs.get(run_id)
        stop = min(stop, start + WINDOW)
        if kept is None:
            raise RunNotFound(f"the run '{run_id}' has been forgotten to make room")
        places = range(start, stop) if not kept.places else map(kept.places.get, range(start, stop))
        results = [kept.results[place] for place in places if place is not None and place < len(kept.results)]
        items = [(result, kept.steps.get(result.item_index)) for result in results if result.status in states]
        if sum(text_size(result) for result, _ in items) > RESULT_PAGE_BYTES:
            items = fill_page(items, _item_size)
            stop = items[-1][0].item_index + 1
        return KeptItems(items, stop)

    async def stopped_items(self, run_id: str, start: int, stop: int) -> dict[int, bytes]:
        kept = self._runs.get(run_id)
        if kept is None or not kept.steps:
            return {}
        indexes = (index for index in range(start, stop) if index not in kept.places)
        return {index: steps for index in indexes if (steps := kept.steps.get(index)) is not None}

    async def close(self) -> None:
        return None

    async def _settled(self) -> None:
        return None

    def _reserve(self, size: int) -> None:
        """Make room for new work. Raises TooLarge if it is more than the state may take, and Overloaded if unfinished
        runs fill that, or clients hold too much.
        """
        memory = self._memory
        if memory.may_take(size):
            return
        if size > memory.limit:
            raise TooLarge(f"it takes {size >> 20} MiB, and the state in memory {self._memory.limit >> 20} MiB at most")
        if memory.held + size > memory.limit:
            self._forget(size)
        memory.take(size)

    def _forget(self, size: int) -> None:
        while not self._memory.fits(size) and (oldest := self._changes.oldest) is not None:
            kept = self._runs[oldest]
            assert kept.outcome is not None
            tombstone = Tombstone.of(kept.record, kept.outcome)
            number = self.changes.begin_removal(tombstone)
            self._remove(kept, Removal(number, tombstone))
            self.changes.settle(number)

    def _remove_blob(self, key: str) -> None:
        blob_id = blob_id_of_key(key)
        size = sys.getsizeof(self._blobs.pop(key).content)
        self._memory.give_back(size)
        self._stored[namespace_of_blob(key)] -= size
        self._keys_of_blobs[blob_id].remove(key)
        if not self._keys_of_blobs[blob_id]:
            del self._keys_of_blobs[blob_id]

    def _remove(self, kept: _Kept, removal: Removal) -> None:
        """A run that has ended goes, and those who follow sets are told."""
        record = kept.record
        del self._runs[record.run_id]
        self._memory.give_back(kept.size)
        self._stored[record.namespace] -= kept.size
        self._index.remove(record, removal.tombstone.state)
        if record.key is not None:
            del self._keys[record.scope, record.key]
        self._changes.remove(removal)

    def _found(self, key: int) -> FoundRun | None:
        run_id = self._index.run_ids.get(key)
        if run_id is None:
            return None
        kept = self._runs[run_id]
        return FoundRun(key, kept.record, kept.outcome, bool(kept.results))

    def _ended_run(self, run_id: str) -> tuple[RunRecord, Outcome] | None:
        kept = self._runs.get(run_id)
        return None if kept is None or kept.outcome is None else (kept.record, kept.outcome)

    def _release_inputs(self, kept: _Kept) -> None:
        self._memory.give_back(kept.inputs_size)
        self._stored[kept.record.namespace] -= kept.inputs_size
        kept.size -= kept.inputs_size
        kept.inputs_size = 0
        kept.inputs = ()


def _read_window(kept: _Kept, page: Page) -> tuple[list[ItemResult], Page | None]:
    """Results of a page among WINDOW items or places, and the part of the page behind these, if none is among them."""
    # A place equals the position in `results`: completions arrive in the order of their places.
    rest: Page
    first, completions = page.first, page.completions
    if page.order is ResultOrder.BY_INDEX:
        rest = page._replace(start=min(page.start + WINDOW, page.stop))
        places = map(kept.places.get, range(page.start, rest.start))
        chosen = [kept.results[place] for place in places if place is not None and first <= place < completions]
    else:
        rest = page._replace(first=min(first + WINDOW, completions))
        chosen = kept.results[first : rest.first]
        if page.start or page.stop < kept.record.total:
            chosen = [result for result in chosen if page.start <= result.item_index < page.stop]
    results = result_page(chosen)
    more = not results and rest.start < rest.stop and rest.first < rest.completions
    return results, rest if more else None


async def _inputs_size(inputs: Sequence[JsonText]) -> int:
    """What inputs take in memory, in bytes; many are counted in turns with everything else."""
    if isinstance(inputs, PackedTexts):
        return inputs.size
    size = 8 * len(inputs)
    for start in range(0, len(inputs), _SIZED_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        size += sum(map(sys.getsizeof, inputs[start : start + _SIZED_AT_ONCE]))
    return size


def _result_size(result: ItemResult) -> int:
    """What a result takes in memory, in bytes."""
    error = result.error
    if error is None:
        return ITEM_BYTES + sys.getsizeof(result.value)
    return ITEM_BYTES + ERROR_BYTES + sys.getsizeof(error.message) + sys.getsizeof(error.data)


def _item_size(item: tuple[ItemResult, bytes | None]) -> int:
    return text_size(item[0])
