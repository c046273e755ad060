"""Blobs in object storage. Each namespace has copies of its own.

A blob is an object `blobs/XX/DIGEST/NAMESPACE`, where XX are the first two digits: so many folders share the objects of
a directory. Eight bytes before its content say what it is.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from gateway.concurrency.memory_account import MemoryAccount, MemoryHold
from gateway.core.errors import BlobNotFound
from gateway.core.internal_errors import report_unexpected
from gateway.core.model import Blob, BlobType, blob_digest, blob_id_of
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.storage.blob_names import named
from gateway.storage.object_backend import ObjectMissing
from gateway.storage.object_texts import from_bytes, rest_of, to_bytes
from gateway.storage.objects import ObjectStore

_T = TypeVar("_T")

_FOLDER: Final = "blobs"
_SHORT: Final = 64 << 10
_HEAD: Final = 8
_KINDS: Final = {
    b"rgblobft": (BlobType.FLOW, True),
    b"rgblobfb": (BlobType.FLOW, False),
    b"rgblobdt": (BlobType.DATA, True),
    b"rgblobdb": (BlobType.DATA, False),
}
"""What begins an object: its type, and whether it is text."""

_HEADS: Final = {kind: head for head, kind in _KINDS.items()}


class DamagedBlob(Exception):
    """An object is not the blob that its key says."""


class BlobObjects:
    """Keeps blobs in object storage. Long ones draw from `account` while they are written or read."""

    def __init__(self, store: ObjectStore, account: MemoryAccount) -> None:
        self._store = store
        self._share = account.share("blobs")

    async def put(self, blob: Blob, namespace: str) -> str:
        """Store a blob durably and return its id. If it is there already, only its type may change, from data to flow.

        Two who store it for the first time at the same moment, as data and as a flow, may leave either type. Raises
        Overloaded if there is no memory for it, TooLarge if no object can be so large, and Unavailable if the storage
        is.
        """
        blob, digest = await self.named(blob)
        await self.put_named(blob, digest, namespace)
        return blob_id_of(digest)

    async def named(self, blob: Blob) -> tuple[Blob, str]:
        """A blob as it is stored, and its digest. Raises Overloaded if there is no memory for it."""
        return await named(blob, self._share)

    async def put_named(self, blob: Blob, digest: str, namespace: str) -> None:
        """Store what `named` has returned. Raises as `put` does."""
        key = _key(digest, namespace)
        with self._share.hold() as hold:
            data = await _object_of(blob, hold)
            if blob.type is BlobType.DATA:
                await self._store.put_if_missing(key, data)
            elif not await self._is_flow(key, len(data)):
                await self._store.put(key, data)

    async def get(self, blob_id: str, namespace: str | None) -> Blob:
        """Return a blob of a namespace, or of any.

        Raises BlobNotFound if there is none, Overloaded if there is no memory for it, and Unavailable if the storage
        is.
        """
        return await self._find(blob_id, namespace, self._read)

    async def peek(self, blob_id: str, namespace: str | None) -> Blob | int:
        """Return a blob, or only its length in bytes if it is long. Raises as `get` does."""
        return await self._find(blob_id, namespace, self._read_short)

    async def _find(self, blob_id: str, namespace: str | None, read: Callable[[str, str], Awaitable[_T]]) -> _T:
        digest = blob_digest(blob_id)
        if digest is not None:
            with suppress(ObjectMissing):
                return await read(_key(digest, namespace or DEFAULT_NAMESPACE), digest)
            if namespace is None and (others := await self._store.list_objects(_folder(digest), limit=1)):
                with suppress(ObjectMissing):
                    return await read(others[0].key, digest)
        raise BlobNotFound(f"no blob has the id '{blob_id}'")

    async def _read(self, key: str, digest: str) -> Blob:
        with self._share.hold() as hold:
            return await _blob(await self._store.get(key), digest, hold)

    async def _read_short(self, key: str, digest: str) -> Blob | int:
        with self._share.hold() as hold:
            found = await self._store.get_short(key, _HEAD + _SHORT)
            return found - _HEAD if isinstance(found, int) else await _blob(found, digest, hold)

    async def _is_flow(self, key: str, size: int) -> bool:
        """Whether this blob is stored as a flow."""
        with suppress(ObjectMissing):
            if await self._store.size(key) == size:
                return _kind(await self._store.get(key)) is BlobType.FLOW
        return False


async def _object_of(blob: Blob, hold: MemoryHold) -> bytes:
    content = blob.content
    head = _HEADS[blob.type, isinstance(content, str)]
    if isinstance(content, str):
        return await to_bytes(content, hold, head)
    if len(content) <= _SHORT:
        return head + content
    hold.grow(len(content))
    return await asyncio.to_thread(b"".join, (head, content))


async def _blob(data: bytes, digest: str, hold: MemoryHold) -> Blob:
    """The blob that an object is. Raises Internal, and logs why, if it is not the one with this digest."""
    long = len(data) > _SHORT
    if long:
        hold.grow(2 * len(data))
    type_and_form = _KINDS.get(data[:_HEAD])
    found = await asyncio.to_thread(_sha256, data) if long else _sha256(data)
    if type_and_form is None or found != digest:
        raise report_unexpected(DamagedBlob(f"the object of the blob sha256:{digest} holds something else"))
    kind, is_text = type_and_form
    if is_text:
        return Blob(await from_bytes(data, _HEAD), kind)
    return Blob(await rest_of(data, _HEAD), kind)


def _kind(data: bytes) -> BlobType | None:
    known = _KINDS.get(data[:_HEAD])
    return None if known is None else known[0]


def _sha256(data: bytes) -> str:
    with memoryview(data) as view:
        return hashlib.sha256(view[_HEAD:]).hexdigest()


def _folder(digest: str) -> str:
    return f"{_FOLDER}/{digest[:2]}/{digest}"


def _key(digest: str, namespace: str) -> str:
    return f"{_folder(digest)}/{namespace}"
