"""The blobs that a component server sees: those of the namespaces in which it executes something at the moment."""

from collections.abc import Awaitable, Callable, Collection

from gateway.core.caller import SERVER_NAMESPACE, CallerView
from gateway.core.errors import BlobNotFound, NotFound
from gateway.core.model import Blob
from gateway.core.owner import DEFAULT_NAMESPACE, Permission
from gateway.core.runtime import Runtime
from gateway.runs.seen_runtime import SeenRuntime

ServerNamespaces = Callable[[str, Permission], Awaitable[Collection[str]]]
"""Finds the namespaces in which a server, by its name, executes something for somebody with a permission."""


class ServerBlobs(SeenRuntime):
    """The part of `runtime` that a component server sees. It has no runs.

    A blob is stored in all of the namespaces, since nothing tells for which execution the server stores it.
    """

    def __init__(self, runtime: Runtime, view: CallerView, namespaces: ServerNamespaces) -> None:
        super().__init__(runtime, view)
        self._server = (view.namespace or "").removeprefix(SERVER_NAMESPACE)
        self._namespaces = namespaces

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        blob_id = ""
        for each in await self._namespaces(self._server, Permission.WRITE_BLOBS):
            blob_id = await self._runtime.put_blob(blob, each)
        if not blob_id:
            raise NotFound("the component server executes nothing that may store blobs")
        return blob_id

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        for each in await self._namespaces(self._server, Permission.READ_BLOBS):
            try:
                return await self._runtime.get_blob(blob_id, each)
            except NotFound:
                continue
        raise BlobNotFound(f"no blob has the id '{blob_id}'")

    async def peek_blob(self, blob_id: str, namespace: str | None = None) -> Blob | int:
        for each in await self._namespaces(self._server, Permission.READ_BLOBS):
            try:
                return await self._runtime.peek_blob(blob_id, each)
            except NotFound:
                continue
        raise BlobNotFound(f"no blob has the id '{blob_id}'")
