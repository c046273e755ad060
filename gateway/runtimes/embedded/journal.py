"""The interface of the journal, which keeps the blobs, runs and results of the embedded runtime."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Collection, Coroutine, Sequence
from contextlib import suppress
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from gateway.core.errors import Unavailable
from gateway.core.model import (
    Blob,
    ItemResult,
    JsonText,
    ResultOrder,
    RunState,
)
from gateway.core.readiness import Readiness
from gateway.core.run_filter import RunFilter
from gateway.core.runtime import Page
from gateway.flows.item_log import StoppedItem
from gateway.flows.new_record import MAX_ITEMS
from gateway.flows.run_ids import key_of
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.cancel_notes import CancelNotes
from gateway.runtimes.embedded.change_log import ChangeLog
from gateway.runtimes.embedded.changes import Changes, Removal, Tombstone
from gateway.runtimes.embedded.retention import KEEP_ALL, Retention
from gateway.runtimes.embedded.upkeep import Upkeep

T = TypeVar("T")

_item_index = attrgetter("item_index")

RUN_ROWS: Final = MAX_ITEMS
"""How many keys of rows a run has, since the index of an item is in the lower bits of a key. It never changes."""

FINISHED_ITEMS = 4_096
"""Of how many items is read at once whether they have finished."""

UNFINISHED_RUNS = 1_024
"""How many unfinished runs are read at once."""


class Completion(NamedTuple):
    """One finished item, its place in the order of completion, and what is kept of its steps, as `item_log` says."""

    place: int
    result: ItemResult
    steps: bytes | None = None


class KeptItems(NamedTuple):
    """Items that have results, by index, each with what is kept of its steps.

    `reached` is the index at which to look for more.
    """

    items: list[tuple[ItemResult, bytes | None]]
    reached: int


class Ended(Struct, frozen=True, gc=False):
    """The end of a run that has ended before it is accepted; results are in the order of index and completion."""

    outcome: Outcome
    results: Sequence[ItemResult]


class FinishedItems(NamedTuple):
    """Consecutive items of a run: a byte for each, which is 1 if it has finished, and how many of these have failed."""

    done: bytes
    failed: int


class UnfinishedRun(NamedTuple):
    """A run that had not ended when the journal was opened. Later runs have larger numbers."""

    number: int
    run_id: str
    root_id: str | None
    parent_id: str | None
    total: int


class FoundRun(NamedTuple):
    """A run that may match a filter, with its key. `begun`: it has results. Its record lacks what may be long."""

    key: int
    record: RunRecord
    outcome: Outcome | None
    begun: bool


class Journal(ABC):
    """Keeps blobs, accepted runs and their results.

    An effect is durable when the method returns. Calls take effect in the order in which they are made, but for
    `create` with many inputs: it takes effect, as a whole, some time after calls that were made later. `epoch` counts
    how often the journal was opened. Every method raises Unavailable if the journal cannot be written or read. A call
    takes little time between two turns of the event loop, and between two turns of other calls in the journal.
    """

    epoch: int = 0
    retention: Retention = KEEP_ALL

    @cached_property
    def readiness(self) -> Readiness:
        """Whether the journal can be written."""
        return Readiness()

    @cached_property
    def changes(self) -> ChangeLog:
        """The log of the changes of all runs."""
        return ChangeLog()

    @property
    @abstractmethod
    def upkeep(self) -> Upkeep:
        """What is done to it now and then."""

    @cached_property
    def cancel_notes(self) -> CancelNotes:
        """The cancels that have begun."""
        return CancelNotes()

    @abstractmethod
    async def put_blob(self, key: str, blob: Blob) -> None:
        """Keep a blob under a key (`run_owners.blob_key`).

        If the journal has it already, only its type may change, from data to flow.
        """

    @abstractmethod
    async def get_blob(self, key: str) -> Blob | None: ...

    async def peek_blob(self, key: str) -> Blob | int | None:
        """The blob, or only its length if it is long and would have to be read; see `Runtime.peek_blob`."""
        return await self.get_blob(key)

    @abstractmethod
    async def find_blob(self, blob_id: str) -> str | None:
        """The key of a blob that has an id in any namespace, the default one first; None if there is no such blob."""

    def create(
        self, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None = None
    ) -> Coroutine[Any, Any, RunRecord | None]:
        """Accept a run. The inputs of one that has ended are not kept.

        If another run of the scope has the same key, change nothing and return that run. Of a run that is not accepted,
        for any reason, nothing is ever seen. Raises Unavailable after `drain` if many inputs are still to be kept.
        """
        if ended is None:
            return self._create(record, inputs, None)
        number = self.changes.begin(record.run_id, key_of(record.run_id) or 0)
        if record.key is not None:
            ended = Ended(replace(ended.outcome, changed=number), ended.results)
        return self._written(number, self._create(record, inputs, ended))

    def withdraw(self, run_id: str) -> None:  # noqa: B027 - not every journal takes long to accept a run.
        """A run whose `create` has not returned is not wanted: that may raise ParentCancelled, or accept it."""

    def drain(self) -> None:  # noqa: B027 - not every journal has what has to end.
        """Accept no further runs with many inputs, so that the end does not wait for them."""

    async def complete(
        self,
        run_id: str,
        completions: Sequence[Completion],
        outcome: Outcome | None = None,
        stopped: Sequence[StoppedItem] = (),
    ) -> None:
        """Keep results of items of a run and, with the last ones or a cancel, its outcome: all of it, or nothing.

        With a cancel, items that were `stopped` have no result. A run that has an outcome keeps it.
        """
        if outcome is None:
            await self._complete(run_id, completions, None, ())
            return
        number = self.changes.begin(run_id)
        await self._written(number, self._complete(run_id, completions, replace(outcome, changed=number), stopped))

    async def delete(self, runs: Sequence[tuple[RunRecord, Outcome]]) -> set[str]:
        """Delete runs that have ended, and all that belongs to them; return the ids of those that there were."""
        removals = [Removal(self.changes.begin_removal(gone), gone) for gone in (Tombstone.of(*run) for run in runs)]
        try:
            deleted = await self._delete(runs, removals)
        except asyncio.CancelledError:
            for number, _ in removals:
                self._settle_later(number)
            raise
        except BaseException:
            for number, _ in removals:
                self.changes.abandon(number)
            raise
        for number, gone in removals:
            self.changes.settle(number) if gone.run_id in deleted else self.changes.abandon(number)
        return deleted

    @abstractmethod
    async def load(self, run_id: str) -> tuple[RunRecord, Outcome | None] | None: ...

    @abstractmethod
    async def find(self, scope: str, key: str) -> RunRecord | None:
        """Return the run with this idempotency key."""

    @abstractmethod
    async def unfinished(self, after: int) -> list[UnfinishedRun]:
        """The runs that had not ended when the journal was opened, and have not ended since, oldest first.

        At most UNFINISHED_RUNS with a number above `after`, which is 0 or more. The list is empty if there are no more.
        """

    @abstractmethod
    async def finished_items(self, run_id: str, start: int) -> FinishedItems:
        """Whether items of a run have finished: FINISHED_ITEMS from the index `start` on, or all that are left."""

    @abstractmethod
    async def inputs(self, run_id: str, start: int) -> list[JsonText]:
        """Return inputs from the index `start` on: about as many as fit a page, and at least one if any is left."""

    @abstractmethod
    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        """Return results as `gateway.core.runtime.Runtime.results` does."""

    @abstractmethod
    def stored_bytes(self, namespace: str) -> int:
        """About how many bytes the state has of a namespace: blobs, and the inputs and results of runs."""

    @abstractmethod
    def search(
        self, wanted: RunFilter, after: int | None, *, newest_first: bool
    ) -> AsyncGenerator[list[FoundRun], None]:
        """Yield the runs that may match a filter, in the order of their keys, and only those after a key.

        A run that matches from the beginning to the end is among them. Each part of them takes a bounded time.
        """

    @abstractmethod
    async def count(self, wanted: RunFilter) -> int | None:
        """Return how many runs match, if the index alone tells."""

    @abstractmethod
    async def read_changes(self, after: int, until: int) -> Changes:
        """The ends of runs, and the runs that were deleted, between two numbers: the first of them."""

    @abstractmethod
    def forgotten(self, namespace: str | None) -> int:
        """Runs of a namespace, or of any, that were deleted at this number or before may be remembered no more."""

    @abstractmethod
    async def items(self, run_id: str, start: int, stop: int, states: Collection[RunState]) -> KeptItems:
        """Look for items with `start <= item_index < stop` whose results have one of some states.

        It looks at a bounded number of items, and finds about as many as fit a page at most.
        """

    @abstractmethod
    async def stopped_items(self, run_id: str, start: int, stop: int) -> dict[int, bytes]:
        """What is kept of the items with `start <= item_index < stop` that a cancel has stopped, by index.

        ResultsKeeper bounds how much that is for a run.
        """

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _create(self, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None) -> RunRecord | None:
        """See `create`."""

    @abstractmethod
    async def _complete(
        self, run_id: str, completions: Sequence[Completion], outcome: Outcome | None, stopped: Sequence[StoppedItem]
    ) -> None:
        """See `complete`."""

    @abstractmethod
    async def _delete(self, runs: Sequence[tuple[RunRecord, Outcome]], removals: Sequence[Removal]) -> set[str]:
        """See `delete`. `removals` says which change each is."""

    @abstractmethod
    async def _settled(self) -> None:
        """Wait until all that is being written is durable, or has failed."""

    async def _written(self, number: int, writing: Awaitable[T]) -> T:
        """Return what a write returns that makes a change durable; anything but None says that nothing was written."""
        try:
            answer = await writing
        except asyncio.CancelledError:
            # It may be written all the same.
            self._settle_later(number)
            raise
        except BaseException:
            self.changes.abandon(number)
            raise
        self.changes.settle(number) if answer is None else self.changes.abandon(number)
        return answer

    def _settle_later(self, number: int) -> None:
        self._unsettled[number] = settling = asyncio.create_task(self._settle(number))
        settling.add_done_callback(lambda _: self._unsettled.pop(number))

    async def _settle(self, number: int) -> None:
        with suppress(Unavailable):
            await self._settled()
        self.changes.settle(number)

    @cached_property
    def _unsettled(self) -> "dict[int, asyncio.Task[None]]":
        return {}


def of_page(results: Sequence[ItemResult], page: Page) -> list[ItemResult]:
    """The results of a page, given the first results of a run in the order of completion."""
    start, stop = page.start, page.stop
    wanted = [result for result in results[page.first : page.completions] if start <= result.item_index < stop]
    if page.order is ResultOrder.BY_INDEX and len(wanted) > 1:
        wanted.sort(key=_item_index)
    return wanted
