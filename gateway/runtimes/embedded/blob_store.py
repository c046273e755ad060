"""The blobs of the embedded runtime. Those that are put or read are kept for some time, and so are flows of runs."""

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import BlobNotFound
from gateway.core.model import Blob, BlobType, blob_id_of
from gateway.runtimes.embedded.blob_names import named
from gateway.runtimes.embedded.blob_uses import BlobUses
from gateway.runtimes.embedded.flow_cache import FlowCache
from gateway.runtimes.embedded.journal import Journal


class BlobStore:
    """Keeps blobs in a journal, and their uses. Long ones draw from `account` while they are named."""

    def __init__(self, journal: Journal, flows: FlowCache, account: MemoryAccount) -> None:
        self.uses = BlobUses(journal.upkeep, flows.forget)
        self._journal = journal
        self._flows = flows
        self._share = account.share()

    async def put(self, blob: Blob) -> str:
        """Store a blob, as `Runtime.put_blob` does."""
        blob, digest = await named(blob, self._share)
        blob_id = blob_id_of(digest)
        if blob.type is BlobType.FLOW:
            await self._flows.compile(blob_id, blob.content, "data")
        self.uses.note(blob_id)
        try:
            await self._journal.put_blob(blob_id, blob)
        except BaseException:
            self._flows.forget(blob_id)
            raise
        return blob_id

    async def get(self, blob_id: str) -> Blob:
        """Return a blob. Raises BlobNotFound if no blob has this id."""
        self.uses.note(blob_id)
        if (blob := await self._journal.get_blob(blob_id)) is None:
            raise BlobNotFound(f"no blob has the id '{blob_id}'")
        return blob

    async def peek(self, blob_id: str) -> Blob | int:
        """Return a blob, or only its length, as `Runtime.peek_blob` does."""
        self.uses.note(blob_id)
        return await self._journal.peek_blob(blob_id) or await self.get(blob_id)
