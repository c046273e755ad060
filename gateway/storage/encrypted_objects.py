"""Objects that are encrypted before they leave the gateway."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from gateway.storage.object_backend import ObjectBackend, ObjectsError, StoredObject
from gateway.storage.payload_keys import OVERHEAD, PayloadKeys, UnreadablePayload, is_encrypted

_LONG: Final = 256 << 10
"""More bytes are encrypted in a thread: it takes longer than a turn of the event loop may."""


class EncryptedObjects(ObjectBackend):
    """Encrypts the objects of another backend, but for those in no folder, which tell how to read the others.

    Each can only be read under its own key. One that was written before there were secrets is read as it is; its size
    may then be told as some bytes less.
    """

    def __init__(self, below: ObjectBackend, keys: PayloadKeys) -> None:
        self._below = below
        self._keys = keys

    async def put(self, key: str, data: bytes) -> None:
        if "/" in key:
            place = key.encode()
            if len(data) > _LONG:
                data = await asyncio.to_thread(self._keys.encrypted, data, place)
            else:
                data = self._keys.encrypted(data, place)
        await self._below.put(key, data)

    async def get(self, key: str, admit: Callable[[int], None]) -> bytes:
        if "/" not in key:
            return await self._below.get(key, admit)
        data = await self._below.get(key, lambda size: admit(_shorter(size)))
        if not is_encrypted(data):
            return data
        try:
            if len(data) > _LONG:
                return await asyncio.to_thread(self._keys.decrypted, data, key.encode())
            return self._keys.decrypted(data, key.encode())
        except UnreadablePayload as error:
            raise ObjectsError(f"an object cannot be read: {error}") from None

    async def size(self, key: str) -> int:
        size = await self._below.size(key)
        return size if "/" not in key else _shorter(size)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._below.delete(keys)

    async def list_objects(self, folder: str, after: str, limit: int) -> list[StoredObject]:
        found = await self._below.list_objects(folder, after, limit)
        return [each if "/" not in each.key else StoredObject(each.key, _shorter(each.size)) for each in found]

    async def check(self) -> None:
        await self._below.check()

    async def close(self) -> None:
        await self._below.close()


def _shorter(size: int) -> int:
    return max(0, size - OVERHEAD)
