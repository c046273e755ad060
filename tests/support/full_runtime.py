"""A runtime with one run that has finished, whose results are made when they are read: they cost no memory before."""

from collections.abc import AsyncGenerator

from gateway.core.model import Blob, BlobType, ItemResult, ItemStatistics, RunState, RunStatus
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page, Snapshot
from tests.support.scripted_run import START
from tests.support.scripted_runtime import ScriptedRuntime

RUN_ID = "11111111-0000-4000-8000-000000000000"


class FullRuntime(ScriptedRuntime):
    """`items` results with values of `size` characters, and blobs of `blob_size`. Reading fails from `broken_at` on."""

    def __init__(self, items: int = 0, size: int = 0, *, blob_size: int = 0, broken_at: int | None = None) -> None:
        super().__init__()
        self.blobs_read = 0
        self._items = items
        self._size = size
        self._blob_size = blob_size
        self._broken_at = broken_at

    async def get(self, run_id: str) -> Snapshot:
        status = RunStatus(
            run_id=run_id,
            flow_id="sha256:" + "0" * 64,
            status=RunState.SUCCESS,
            items=ItemStatistics(total=self._items, success=self._items),
            created_at=START,
            completed_at=START,
        )
        return Snapshot(status, 1, completions=self._items, prefix=self._items)

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        yield await self.get(run_id)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        if self._broken_at is not None and page.start >= self._broken_at:
            raise OSError("the disk is gone")
        length = max(1, min(RESULT_PAGE_LENGTH, RESULT_PAGE_BYTES // self._size, page.stop - page.start))
        return [
            ItemResult(
                item_index=index, status=RunState.SUCCESS, value=f'"{"x" * (self._size - 2)}"', completed_at=START
            )
            for index in range(page.start, page.start + length)
        ]

    async def peek_blob(self, blob_id: str, namespace: str | None = None) -> Blob | int:
        return self._blob_size

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        self.blobs_read += 1
        return Blob(f'"{"x" * (self._blob_size - 2)}"', BlobType.DATA)
