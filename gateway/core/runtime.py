"""What a runtime offers: the one interface between the runs service and everything that executes runs."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from gateway.core.model import Blob, ItemResult, ResultOrder, RunStatus, SubmitParams

RESULT_PAGE_BYTES = 1 << 20
"""About how much result text a page holds at most; a single larger result makes a page of its own."""

RESULT_PAGE_LENGTH = 1024
"""How many results a page holds at most: bounds the work that one page is."""


_T = TypeVar("_T")


class Snapshot(NamedTuple):
    """A run at one moment.

    `status` comes without results. `revision` grows with each change of the run, over restarts, too. `completions`
    counts the results that exist; each result has a place in the order of completion below it. `prefix` counts the
    leading items that have all finished: items `0 .. prefix - 1` have results. `results` are those of all items, by
    index, if the run has finished and they are at hand: then nobody needs to read them.
    """

    status: RunStatus
    revision: int
    completions: int
    prefix: int
    results: Sequence[ItemResult] | None = None

    @property
    def terminal(self) -> bool:
        """Whether the run has ended: no other state follows."""
        return self.status.status.terminal


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


class Runtime(ABC):
    """Executes runs and keeps blobs.

    Ids are canonical (`gateway.core.model.blob_id_of`, `canonical_run_id`); parameters have been validated. Every
    method may raise the errors of `gateway.core.errors`.
    """

    @abstractmethod
    async def put_blob(self, blob: Blob) -> str:
        """Store a blob durably and return its id. InvalidFlow if it is said to be a flow and is none."""

    @abstractmethod
    async def get_blob(self, blob_id: str) -> Blob:
        """Return a blob. BlobNotFound if there is none."""

    @abstractmethod
    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        """Accept a run durably and start it. `params.wait` and `params.timeout` are the service's business.

        An idempotency key counts within `scope`: the same key, scope and parameters return the same run, others raise
        IdempotencyConflict. FlowNotFound, InvalidFlow and InvalidParams for what cannot run.
        """

    @abstractmethod
    async def get(self, run_id: str) -> Snapshot:
        """Return the current state. RunNotFound if there is no such run."""

    @abstractmethod
    def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Yield the current state at once, then the latest state after each change, and end after a terminal one.

        A slow reader skips states in between. Unavailable when the runtime drains; RunNotFound if there is no such run.
        """

    @abstractmethod
    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        """Return results of a run from the start of `page` on: all of them, or as many as a page may hold.

        At least one, unless there is none in the range.
        """

    @abstractmethod
    async def drain(self) -> None:
        """Accept nothing more and end every watch with Unavailable; reading goes on."""

    @abstractmethod
    async def close(self) -> None:
        """Stop executing and release everything. What was accepted and has not finished stays accepted."""
