"""The blobs of the embedded runtime. Those that are put or read are kept for some time, and so are flows of runs."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import BlobNotFound
from gateway.core.model import Blob, BlobType, blob_id_of
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.flows.flow_cache import FlowCache
from gateway.flows.run_owners import blob_key
from gateway.runtimes.embedded.blob_uses import BlobUses
from gateway.runtimes.embedded.journal import Journal
from gateway.storage.blob_names import named

_T = TypeVar("_T")
_BlobReading: TypeAlias = Callable[[str], Awaitable[_T | None]]


class BlobStore:
    """Keeps blobs in a journal, and their uses. Long ones draw from `account` while they are named."""

    def __init__(self, journal: Journal, flows: FlowCache, account: MemoryAccount) -> None:
        self.uses = BlobUses(journal.upkeep, flows.forget)
        self._journal = journal
        self._flows = flows
        self._share = account.share("blobs")

    async def put(self, blob: Blob, namespace: str) -> str:
        """Store a blob, as `Runtime.put_blob` does."""
        blob, digest = await named(blob, self._share)
        blob_id = blob_id_of(digest)
        key = blob_key(blob_id, namespace)
        if blob.type is BlobType.FLOW:
            await self._flows.compile(key, blob.content, "data")
        self.uses.note(key)
        try:
            await self._journal.put_blob(key, blob)
        except BaseException:
            self._flows.forget(key)
            raise
        return blob_id

    async def get(self, blob_id: str, namespace: str | None) -> Blob:
        """Return a blob, as `Runtime.get_blob` does. Raises BlobNotFound if no blob has this id there."""
        if (blob := await self._read(blob_id, namespace, self._journal.get_blob)) is None:
            raise BlobNotFound(f"no blob has the id '{blob_id}'")
        return blob

    async def peek(self, blob_id: str, namespace: str | None) -> Blob | int:
        """Return a blob, or only its length, as `Runtime.peek_blob` does."""
        found: Blob | int | None = await self._read(blob_id, namespace, self._journal.peek_blob)
        return await self.get(blob_id, namespace) if found is None else found

    async def _read(self, blob_id: str, namespace: str | None, read: "_BlobReading[_T]") -> _T | None:
        key = blob_key(blob_id, DEFAULT_NAMESPACE if namespace is None else namespace)
        self.uses.note(key)
        found = await read(key)
        if found is None and namespace is None and (other := await self._journal.find_blob(blob_id)) is not None:
            self.uses.note(other)
            found = await read(other)
        return found
