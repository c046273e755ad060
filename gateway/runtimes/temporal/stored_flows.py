"""The flows of runs, which are blobs in the object storage."""

from gateway.core.errors import BlobNotFound, FlowNotFound
from gateway.core.model import Blob, BlobType, JsonText, blob_id_of
from gateway.flows.flow import Flow
from gateway.flows.flow_cache import FlowCache
from gateway.flows.run_owners import blob_key
from gateway.storage.blob_objects import BlobObjects


class StoredFlows:
    """Finds flows, and compiles them; those that were used last stay compiled."""

    def __init__(self, blobs: BlobObjects, flows: FlowCache) -> None:
        self._blobs = blobs
        self._flows = flows

    async def put(self, blob: Blob, namespace: str) -> str:
        """Store a blob and return its id. A flow is compiled first.

        Raises InvalidFlow if it is not a flow, and as `FlowCache` and `BlobObjects` do.
        """
        blob, digest = await self._blobs.named(blob)
        blob_id = blob_id_of(digest)
        key = blob_key(blob_id, namespace)
        if blob.type is BlobType.FLOW:
            await self._flows.compile(key, blob.content, "data")
        try:
            await self._blobs.put_named(blob, digest, namespace)
        except BaseException:
            self._flows.forget(key)
            raise
        return blob_id

    async def overridden(self, flow_id: str, overrides: JsonText | None, namespace: str) -> Flow:
        """The flow with this id in a namespace, with overrides.

        Raises FlowNotFound if no blob has this id, InvalidParams if it is not valid, Unavailable, and as `FlowCache`
        does.
        """
        key = blob_key(flow_id, namespace)
        flow = self._flows.get(key)
        if flow is None:
            try:
                blob = await self._blobs.get(flow_id, namespace)
            except BlobNotFound:
                raise FlowNotFound(f"no flow has the id '{flow_id}'") from None
            flow = await self._flows.compile_stored(key, blob)
        return flow if overrides is None else await self._flows.override(flow, overrides)
