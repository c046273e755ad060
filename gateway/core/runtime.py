"""The interface between the runs service and everything that executes runs."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from functools import cached_property
from sys import getsizeof
from typing import NamedTuple, TypeVar

from msgspec import Struct

from gateway.core.errors import Unsupported
from gateway.core.items import ItemPage
from gateway.core.model import TERMINAL_STATES, Blob, ItemResult, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.readiness import Readiness
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetPart

RESULT_PAGE_BYTES = 1 << 20
"""About how much result text a page holds at most; a single larger result makes a page of its own."""

RESULT_PAGE_LENGTH = 1024
"""How many results a page holds at most: bounds the work for one page."""

_RESULT_BYTES = 256
"""About how much memory a result takes besides its text."""

_ASCII_BYTES = getsizeof("")
"""How much memory a text of ASCII takes besides its characters. To ask for the whole takes twice as long."""

_T = TypeVar("_T")


class Snapshot(Struct, frozen=True, gc=False):
    """A run at one moment.

    `status` comes without results. `revision` grows with each change of the run, over restarts, too. `completions`
    counts the results that exist; each result has a place in the order of completion below it. `prefix` counts the
    leading items that have all finished: items `0 .. prefix - 1` have results. `results` are those of all items, by
    index, if the run has finished and they are at hand: then they need not be read. `changed_at` is when the run
    changed, by `time.monotonic()`; 0 if that was in another process.
    """

    status: RunStatus
    revision: int
    completions: int
    prefix: int
    results: Sequence[ItemResult] | None = None
    changed_at: float = 0.0

    @property
    def terminal(self) -> bool:
        """Whether the run has ended: no other state follows."""
        return self.status.status in TERMINAL_STATES


class RunPage(NamedTuple):
    """Runs without results, and a cursor after them, which only the runtime understands; "" if no run follows."""

    runs: list[RunStatus]
    cursor: str


class Page(NamedTuple):
    """Results to read: those of finished items with `start <= item_index < stop` whose place in the order of completion
    is at least `first` and below `completions`, so that a page agrees with the snapshot that it is read for.

    They come by index or by place, as `order` says.
    """

    order: ResultOrder
    start: int
    stop: int
    first: int
    completions: int


def text_size(result: ItemResult) -> int:
    """How much text a result holds, in characters: what fills a page."""
    error = result.error
    return len(result.value or "") + (len(error.message) + len(error.data or "") if error else 0)


def text_sizes(results: Sequence[ItemResult]) -> int:
    """How much text results hold together, in characters."""
    size = 0
    for result in results:
        if (value := result.value) is not None:
            size += len(value)
        if (error := result.error) is not None:
            size += len(error.message) + len(error.data or "")
    return size


def memory_size(results: Sequence[ItemResult]) -> int:
    """About how much memory results take, in bytes."""
    size = _RESULT_BYTES * len(results)
    for result in results:
        if (value := result.value) is not None:
            size += len(value) + _ASCII_BYTES if value.isascii() else getsizeof(value)
        if (error := result.error) is not None:
            size += getsizeof(error.message) + getsizeof(error.data)
    return size


def fill_page(entries: Iterable[_T], size: Callable[[_T], int]) -> list[_T]:
    """The first entries, as many as a page may hold; at least one if there is one."""
    page: list[_T] = []
    total = 0
    for entry in entries:
        page.append(entry)
        total += size(entry)
        if total >= RESULT_PAGE_BYTES or len(page) == RESULT_PAGE_LENGTH:
            break
    return page


def result_page(results: list[ItemResult]) -> list[ItemResult]:
    """The first results, as many as a page may hold: what `fill_page` finds, and faster if a page may hold all."""
    if len(results) <= RESULT_PAGE_LENGTH and text_sizes(results) <= RESULT_PAGE_BYTES:
        return results
    return fill_page(results, text_size)


def fits_page(texts: Sequence[str]) -> bool:
    """Whether so many texts, of this length, make no more than a page."""
    return len(texts) <= RESULT_PAGE_LENGTH and sum(map(len, texts)) <= RESULT_PAGE_BYTES


class Runtime(ABC):
    """Executes runs and keeps blobs.

    Ids are canonical (`gateway.core.model.blob_id_of`, `canonical_run_id`); parameters have been validated. Every
    method may raise the errors of `gateway.core.errors`.
    """

    @cached_property
    def readiness(self) -> Readiness:
        """Whether runs are accepted; health reports it. A runtime elsewhere answers for itself by what it refuses."""
        return Readiness()

    @abstractmethod
    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        """Store a blob durably in a namespace and return its id, which is the same in every namespace.

        Raises InvalidFlow if its type is flow and it is not a valid one.
        """

    @abstractmethod
    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        """Return a blob of a namespace, or of any. Raises BlobNotFound if no blob has this id there."""

    async def peek_blob(self, blob_id: str, namespace: str | None = None) -> Blob | int:
        """Return a blob, or only its length if it is long and that can be told without reading it.

        The length is in bytes, or in characters if the blob is text. Raises BlobNotFound if no blob has this id.
        """
        return await self.get_blob(blob_id, namespace)

    async def owner_of_run(self, run_id: str) -> Owner | None:
        """To whom a run belongs; None is nobody. Raises RunNotFound if it does not exist.

        What is not known of the owner does not limit it: with a namespace alone, it may do everything there.
        """
        namespace = (await self.get(run_id)).status.namespace
        return None if namespace == DEFAULT_NAMESPACE else Owner(namespace)

    @abstractmethod
    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        """Accept a run durably and start it. `params.wait` and `params.timeout` are left to the service.

        An idempotency key counts within `scope` and the namespace of `params.owner`: the same key, scope and parameters
        return the same run. The flow is looked for in this namespace. Raises IdempotencyConflict if the parameters
        differ, and FlowNotFound, InvalidFlow or InvalidParams if the run cannot be executed.
        """

    @abstractmethod
    async def get(self, run_id: str) -> Snapshot:
        """Return the current state. Raises RunNotFound if no run has this id."""

    async def get_known(self, run_id: str) -> Snapshot:
        """Return a state of a run, which may be an earlier one: for who asks what never changes. Raises as `get`."""
        return await self.get(run_id)

    def is_at_hand(self, run_id: str) -> bool:
        """Whether a run is in memory, so that `get_known` reads nothing, as it does for one that is missing."""
        return False

    async def get_since(self, run_id: str, revision: int) -> Snapshot | None:
        """Return a state that is not older than the one with a revision, which another process may have shown.

        None if there is no such state, as after a loss of data. Raises as `get` does.
        """
        snapshot = await self.get(run_id)
        return snapshot if snapshot.revision >= revision else None

    @abstractmethod
    def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Yield the current state at once, then the latest state after each change, and end after a terminal one.

        A slow reader skips states in between. Raises Unavailable if the runtime drains, RunNotFound if no run has this
        id.
        """

    @abstractmethod
    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        """Return results of a run from the start of `page` on: all of them, or as many as a page may hold.

        An empty list means that the page has no results.
        """

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        """Cancel a run and the runs inside it, durably; return its state, which is that of before if it had ended.

        `until`, a value of `time.monotonic()`: return only when nothing of them executes any more, but no later. None:
        at once. Raises RunNotFound, and Unsupported if the runtime cannot cancel.
        """
        raise Unsupported("the runtime of this gateway cannot cancel runs")

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        """Delete a run that has ended; with `cancel`, cancel it before if it has not.

        Raises RunNotFound, RunNotEnded, and Unsupported if the runtime cannot delete.
        """
        raise Unsupported("the runtime of this gateway cannot delete runs")

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        """Return at most `limit` runs that match, after the point that `cursor` names; "" is the beginning.

        Raises InvalidParams at `page_token` if the cursor is not understood, and Unsupported if the runtime cannot
        list, or not by this filter.
        """
        raise Unsupported("the runtime of this gateway cannot list runs")

    async def count_runs(self, wanted: RunFilter) -> int:
        """Return how many runs match. Raises Unsupported as `list_runs` does."""
        raise Unsupported("the runtime of this gateway cannot count runs")

    async def items(
        self, run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool
    ) -> ItemPage:
        """Return at most `limit` items from the index `start` on, in one of `states` if there are any.

        They hold about a mebibyte of text at most, or are one.
        Raises RunNotFound, and Unsupported if the runtime cannot list items.
        """
        raise Unsupported("the runtime of this gateway cannot list items")

    def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        """Yield the runs that match, then what changes, after a position of an earlier part; b"" is the beginning.

        `only_new` leaves out the runs that there are. A slow reader skips states in between. Raises Unavailable if the
        runtime drains, and Unsupported if it cannot follow sets.
        """
        raise Unsupported("the runtime of this gateway cannot follow sets of runs")

    def stored_bytes(self, namespace: str) -> int | None:
        """How many bytes a namespace has stored: inputs, results and blobs; None if the runtime cannot tell."""
        return None

    @abstractmethod
    async def drain(self) -> None:
        """Accept nothing more and end every watch with Unavailable; reading goes on."""

    @abstractmethod
    async def close(self) -> None:
        """Stop executing and release everything. What was accepted and has not finished stays accepted."""
