"""The interface of the journal, which keeps the blobs, runs and results of the embedded runtime."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from msgspec import Struct

from gateway.core.model import Blob, ItemResult, JsonText, Nanoseconds, ResultOrder, RunState
from gateway.core.readiness import Readiness
from gateway.core.run_filter import RunFilter
from gateway.core.runtime import Page

_item_index = attrgetter("item_index")

MAX_ITEMS = 1 << 24
"""The largest number of items of a run: an index fits the lower 24 bits of the key of a row."""

FINISHED_ITEMS = 4_096
"""Of how many items is read at once whether they have finished."""

UNFINISHED_RUNS = 1_024
"""How many unfinished runs are read at once."""


class RunRecord(Struct, frozen=True, gc=False, array_like=True):
    """A run as it was accepted.

    `variables`, `observability` and `labels` are JSON objects. `key` is the idempotency key, which is unique within
    `scope`; `fingerprint` is a digest of the parameters that came with it. A run that was submitted inside another one
    has a `depth` above 0, and `root_id` is the run that all of them are inside; `parent_id` is the one that submitted
    it. A run that has not ended at its `deadline` is cancelled.
    """

    run_id: str
    flow_id: str
    flow_name: str | None
    flow_label: str | None
    total: int
    max_concurrency: int | None
    overrides: JsonText | None
    variables: JsonText
    observability: JsonText | None
    scope: str
    key: str | None
    fingerprint: str
    created_at: Nanoseconds
    depth: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    labels: JsonText | None = None
    deadline: Nanoseconds | None = None


class Outcome(Struct, frozen=True, gc=False, array_like=True):
    """The end of a run: its status, the numbers of its items, and the times at which it ended and had started."""

    status: RunState
    success: int
    failed: int
    completed_at: Nanoseconds
    cancelled: int = 0
    started_at: Nanoseconds | None = None
    cancel_reason: str | None = None


class Completion(NamedTuple):
    """One finished item, and its place in the order of completion."""

    place: int
    result: ItemResult


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

    @cached_property
    def readiness(self) -> Readiness:
        """Whether the journal can be written."""
        return Readiness()

    @abstractmethod
    async def put_blob(self, blob_id: str, blob: Blob) -> None:
        """Keep a blob. If the journal has it already, only its type may change, from data to flow."""

    @abstractmethod
    async def get_blob(self, blob_id: str) -> Blob | None: ...

    async def peek_blob(self, blob_id: str) -> Blob | int | None:
        """The blob, or only its length if it is long and would have to be read; see `Runtime.peek_blob`."""
        return await self.get_blob(blob_id)

    @abstractmethod
    async def create(
        self, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None = None
    ) -> RunRecord | None:
        """Accept a run. The inputs of one that has ended are not kept.

        If another run of the scope has the same key, change nothing and return that run. Of a run that is not accepted,
        for any reason, nothing is ever seen. Raises Unavailable after `drain` if many inputs are still to be kept.
        """

    def drain(self) -> None:  # noqa: B027 - not every journal has what has to end.
        """Accept no further runs with many inputs, so that the end does not wait for them."""

    @abstractmethod
    async def complete(self, run_id: str, completions: Sequence[Completion], outcome: Outcome | None = None) -> None:
        """Keep results of items of a run and, with the last ones or a cancel, its outcome: all of it, or nothing.

        A run that has an outcome keeps it.
        """

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
    async def close(self) -> None: ...


def of_page(results: Sequence[ItemResult], page: Page) -> list[ItemResult]:
    """The results of a page, given the first results of a run in the order of completion."""
    start, stop = page.start, page.stop
    wanted = [result for result in results[page.first : page.completions] if start <= result.item_index < stop]
    if page.order is ResultOrder.BY_INDEX and len(wanted) > 1:
        wanted.sort(key=_item_index)
    return wanted
