"""The journal of `:memory:`: dictionaries, bounded in size."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.core.errors import Overloaded, RunNotFound
from gateway.core.model import Blob, BlobType, ItemResult, JsonText, ResultOrder, RunState
from gateway.core.runtime import Page, fill_page, text_size
from gateway.runtimes.embedded.journal import (
    FINISHED_ITEMS,
    Completion,
    Ended,
    FinishedItems,
    Journal,
    Outcome,
    RunRecord,
    UnfinishedRun,
    of_page,
)

MAX_BYTES = 1 << 30
"""How much payload is kept, in characters. Finished runs are dropped, oldest first, to make room for new ones."""

RUN_BYTES = 1 << 10
"""The size of a run besides its payloads."""


@dataclass(slots=True)
class _Kept:
    """A run. `places` are those of the results, by item; it is empty if the run was accepted with its results."""

    record: RunRecord
    inputs: Sequence[JsonText]
    outcome: Outcome | None = None
    results: list[ItemResult] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    size: int = RUN_BYTES


class MemoryJournal(Journal):
    """Loses everything at the end of the process."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._blobs: dict[str, Blob] = {}
        self._runs: dict[str, _Kept] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._ended: deque[str] = deque()

    async def put_blob(self, blob_id: str, blob: Blob) -> None:
        known = self._blobs.get(blob_id)
        if known is None:
            self._reserve(len(blob.content))
            self._blobs[blob_id] = blob
        elif blob.type is BlobType.FLOW:
            self._blobs[blob_id] = known._replace(type=BlobType.FLOW)

    async def get_blob(self, blob_id: str) -> Blob | None:
        return self._blobs.get(blob_id)

    async def create(
        self, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None = None
    ) -> RunRecord | None:
        if record.key is not None and (taken := await self.find(record.scope, record.key)) is not None:
            return taken
        if ended is None:
            kept = _Kept(record, inputs)
            kept.size += sum(map(len, inputs))
        else:
            kept = _Kept(record, (), ended.outcome, list(ended.results))
            kept.size += sum(map(text_size, ended.results))
        self._reserve(kept.size)
        self._runs[record.run_id] = kept
        if record.key is not None:
            self._keys[record.scope, record.key] = record.run_id
        if ended is not None:
            self._ended.append(record.run_id)
        return None

    async def complete(self, completion: Completion) -> None:
        kept = self._runs[completion.run_id]
        size = text_size(completion.result)
        self._forget(size)
        self._size += size
        kept.size += size
        kept.results.append(completion.result)
        kept.places[completion.result.item_index] = completion.place
        if completion.outcome is not None:
            kept.outcome = completion.outcome
            self._release_inputs(kept)
            self._ended.append(completion.run_id)

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
        inputs = self._runs[run_id].inputs
        return fill_page((inputs[index] for index in range(start, len(inputs))), len)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        kept = self._runs.get(run_id)
        if kept is None:
            raise RunNotFound(f"the run '{run_id}' has been forgotten to make room")
        if not kept.places:
            return fill_page(of_page(kept.results, page), text_size)
        # A place equals the position in `results`: completions arrive in the order of their places.
        places: Iterable[int] = range(page.first, page.completions)
        if page.order is ResultOrder.BY_INDEX:
            found = (kept.places.get(index) for index in range(page.start, page.stop))
            places = (place for place in found if place is not None and page.first <= place < page.completions)
        chosen = (kept.results[place] for place in places)
        return fill_page((r for r in chosen if page.start <= r.item_index < page.stop), text_size)

    async def close(self) -> None:
        return None

    def _reserve(self, size: int) -> None:
        """Make room for new work. Raises Overloaded if unfinished runs fill the journal."""
        self._forget(size)
        if self._size + size > self._max_bytes:
            raise Overloaded("the in-memory state is full", retry_after=1.0)
        self._size += size

    def _forget(self, size: int) -> None:
        while self._ended and self._size + size > self._max_bytes:
            kept = self._runs.pop(self._ended.popleft())
            self._size -= kept.size
            if kept.record.key is not None:
                del self._keys[kept.record.scope, kept.record.key]

    def _release_inputs(self, kept: _Kept) -> None:
        size = sum(map(len, kept.inputs))
        kept.inputs = ()
        kept.size -= size
        self._size -= size
