"""The journal: what the embedded runtime must not lose, and the interface of the two places that keep it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from gateway.core.model import Blob, ItemResult, JsonText, Nanoseconds, ResultOrder, RunState
from gateway.core.runtime import Page

_item_index = attrgetter("item_index")

MAX_ITEMS = 1 << 24
"""Most items of a run: a place among them fits the lower 24 bits of a row's key."""


class RunRecord(NamedTuple):
    """A run as it was accepted. `variables` and `observability` are JSON objects; `key` counts within `scope`."""

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


class Outcome(NamedTuple):
    """How a run ended."""

    status: RunState
    success: int
    failed: int
    completed_at: Nanoseconds


class Completion(NamedTuple):
    """One finished item: its place in the order of completion, and the end of the run if it was the last."""

    run_id: str
    place: int
    result: ItemResult
    outcome: Outcome | None


class Ended(NamedTuple):
    """A run that had ended when it was accepted: all its results, by index and in this order of completion."""

    outcome: Outcome
    results: Sequence[ItemResult]


class Finished(NamedTuple):
    """An item that had finished before a restart."""

    item_index: int
    status: RunState


class Journal(ABC):
    """Keeps blobs, accepted runs and their results.

    What a method has returned from is durable, as far as the place can be. Calls take effect in the order in which they
    are made. Unavailable is raised when the place cannot be written or read. `epoch` counts how often it was opened.
    """

    epoch: int = 0

    @abstractmethod
    async def put_blob(self, blob_id: str, blob: Blob) -> None:
        """Keep a blob; one that is there already stays, and becomes a flow if this one is said to be one."""

    @abstractmethod
    async def get_blob(self, blob_id: str) -> Blob | None: ...

    @abstractmethod
    async def create(
        self, record: RunRecord, inputs: Sequence[JsonText], ended: Ended | None = None
    ) -> RunRecord | None:
        """Accept a run; of one that has ended already, the inputs are not kept.

        If its key is taken within its scope, change nothing and return the run that took it.
        """

    @abstractmethod
    async def complete(self, completion: Completion) -> None:
        """Keep the result of an item, and with the last one the end of the run."""

    @abstractmethod
    async def load(self, run_id: str) -> tuple[RunRecord, Outcome | None] | None: ...

    @abstractmethod
    async def unfinished(self) -> list[RunRecord]:
        """The runs that have not ended, oldest first."""

    @abstractmethod
    async def finished_items(self, run_id: str) -> list[Finished]:
        """The finished items of a run, in the order of completion."""

    @abstractmethod
    async def inputs(self, run_id: str, start: int) -> list[JsonText]:
        """Inputs from an index on: all, or as many as fit a page; at least one if there is one."""

    @abstractmethod
    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        """As `gateway.core.runtime.Runtime.results`."""

    @abstractmethod
    async def close(self) -> None: ...


def of_page(results: Sequence[ItemResult], page: Page) -> list[ItemResult]:
    """The results of a page, given the first results of a run in the order of completion."""
    start, stop = page.start, page.stop
    wanted = [result for result in results[page.first : page.completions] if start <= result.item_index < stop]
    if page.order is ResultOrder.BY_INDEX and len(wanted) > 1:
        wanted.sort(key=_item_index)
    return wanted
