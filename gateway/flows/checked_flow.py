"""The check of a flow that is to be stored, for those who have no runtime: the very one of the embedded runtime."""

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.model import Blob, BlobType, JsonText, blob_id_of
from gateway.flows.flow_cache import DEFAULT_MAX_FLOW_BYTES, FlowCache
from gateway.storage.blob_names import named


async def flow_id_of(text: JsonText, max_bytes: int = DEFAULT_MAX_FLOW_BYTES) -> str:
    """The id that a flow would be stored under; `text` is JSON.

    Raises InvalidFlow, with its violations, if it is not a flow, and TooLarge if it has more than `max_bytes`.
    """
    account = MemoryAccount()
    blob, digest = await named(Blob(text, BlobType.FLOW), account.share("blobs"))
    await FlowCache(max_bytes, account).compile(digest, blob.content, "flow")
    return blob_id_of(digest)
