"""The namespaces of runs and blobs of an upstream.

Another gateway knows them, and is told which one a call concerns. Of any other server, this gateway keeps them: with
the notes of runs, and as marks of blobs. A run without a note is of the default namespace.
"""

from contextlib import suppress

from msgspec.structs import replace

from gateway.core.errors import BlobNotFound, FlowNotFound, GatewayError
from gateway.core.model import SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.runtime import Snapshot
from gateway.runtimes.jsonrpc.dialect import GET_BLOB, NOBODY, Dialect
from gateway.runtimes.jsonrpc.upstream import JsonRpcUpstream
from gateway.storage.idempotency import Keys
from gateway.storage.run_notes import SubmitNote


class Namespaces:
    """Where runs and blobs are. What is kept of them is beside `keys`."""

    def __init__(self, upstream: JsonRpcUpstream, keys: Keys) -> None:
        self._upstream = upstream
        self._marks = keys.marks
        self._notes = keys.notes

    async def put(self, blob_id: str, namespace: str) -> None:
        """Note that a blob is in a namespace, durably if there is a file."""
        if not await self._are_upstream():
            await self._marks.put(blob_id, namespace)

    async def refuse_hidden(self, blob_id: str, namespace: str | None) -> None:
        """Raise BlobNotFound if a blob is not in a namespace, whether it exists or not."""
        if namespace is None or await self._are_upstream() or await self._marks.has(blob_id, namespace):
            return
        if namespace == DEFAULT_NAMESPACE:
            # There, the upstream is asked for others as well: it takes as long.
            with suppress(GatewayError):
                await self._upstream.call(GET_BLOB, f'{{"blobId":"{NOBODY}"}}')
        raise BlobNotFound(f"no blob has the id '{blob_id}'")

    async def refuse_hidden_flow(self, params: SubmitParams) -> None:
        """Raise FlowNotFound if the flow is not in the namespace that the run would be in."""
        try:
            await self.refuse_hidden(params.flow_id, params.namespace)
        except BlobNotFound:
            raise flow_not_found(params) from None
        if params.owner is not None:
            # A flow that was there before there were marks stays, whatever others put.
            await self.put(params.flow_id, params.namespace)

    async def submitted(self, snapshot: Snapshot, params: SubmitParams) -> Snapshot:
        """Keep to whom a run belongs that has been accepted, and return its state."""
        if await self._are_upstream():
            return snapshot
        if params.owner is not None:
            await self._notes.submitted(snapshot.status.run_id, SubmitNote(owner=params.owner))
        return _in_namespace(snapshot, params.namespace)

    async def told(self, snapshot: Snapshot) -> Snapshot:
        """The state of a run with its namespace."""
        if await self._are_upstream():
            return snapshot
        owner = await self.owner(snapshot.status.run_id)
        return _in_namespace(snapshot, DEFAULT_NAMESPACE if owner is None else owner.namespace)

    async def owner(self, run_id: str) -> Owner | None:
        """To whom a run belongs, as far as it was noted."""
        note = (await self._notes.of([run_id])).get(run_id)
        return None if note is None else note.submitted.owner

    async def _are_upstream(self) -> bool:
        return await self._upstream.reachability.ready() is Dialect.SUPERSET


def flow_not_found(params: SubmitParams) -> FlowNotFound:
    """The error for a flow that is not there, or hidden."""
    return FlowNotFound(f"no flow has the id '{params.flow_id}'")


def header_of(namespace: str | None) -> str | None:
    """What another gateway is told of the namespace that something is put into: none for the default one."""
    return None if namespace == DEFAULT_NAMESPACE else namespace


def _in_namespace(snapshot: Snapshot, namespace: str) -> Snapshot:
    if snapshot.status.namespace == namespace:
        return snapshot
    return replace(snapshot, status=replace(snapshot.status, namespace=namespace))
