"""Object storage: bytes under keys, in a directory or in a service elsewhere, for all gateways of one installation.

A call ends within about 10 s, and longer only for what is large: then callers are told that the storage is unavailable,
and when to try again. What was written has then been written as a whole, or not at all; to write it again is harmless.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, TypeVar, get_args
from urllib.parse import unquote, urlsplit

from gateway.concurrency.memory_account import MemoryAccount, MemoryHold
from gateway.core.errors import TooLarge, Unavailable
from gateway.core.upstream_calls import UpstreamOutcome
from gateway.storage.encrypted_objects import EncryptedObjects
from gateway.storage.object_backend import (
    READ_AT_ONCE,
    ObjectBackend,
    ObjectMissing,
    ObjectsAway,
    ObjectsError,
    StoredObject,
)
from gateway.storage.object_calls import BYTES_READ, BYTES_WRITTEN, ObjectCalls, ObjectOperation
from gateway.storage.object_files import ObjectFiles
from gateway.storage.object_layout import LAYOUT, check_layout, layout_of
from gateway.storage.payload_keys import PayloadKeys
from gateway.storage.remote_objects import RemoteObjects

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

CALL_SECONDS: Final = 10.0
"""How long a call may take, besides the time that its bytes need."""

MAX_OBJECT_BYTES: Final = 1 << 30
"""The largest object."""

_BYTES_A_SECOND: Final = 2 << 20
"""How fast the bytes of a large object have to come or go, at least."""

_AT_ONCE: Final = 64
"""How many calls are under way at the same time. Others wait for their turn, and that counts as their time."""

_LIST: Final = 1_000
_CALLS: Final = {operation: ObjectCalls(operation) for operation in get_args(ObjectOperation)}
_KEY: Final = re.compile(r"(?!.{513})[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199})*")

_ABSENT: Final = "never-written"


class ObjectStore:
    """Keeps bytes under keys. What it reads draws from `account` until it is returned.

    A key is a path of a few names (letters, digits, `_`, `-` and `.`), with `/` between them. A key does not begin with
    another key and a `/`: in a directory, one is a file and the other one would need a folder of the same name.
    """

    def __init__(self, backend: ObjectBackend, account: MemoryAccount, keys: PayloadKeys | None = None) -> None:
        self._backend = backend if keys is None else EncryptedObjects(backend, keys)
        self._keys = keys
        self._share = account.share("blobs")
        self._places = asyncio.Semaphore(_AT_ONCE)
        self.is_away = False
        """Whether the call that ended last could not reach it."""
        self.failed_at = 0.0
        """When a call last failed, by `time.monotonic()`: it could not be reached, or refused this server."""

    @classmethod
    async def open(cls, url: str, account: MemoryAccount, keys: PayloadKeys | None = None) -> Self:
        """The storage at a URL: `s3://BUCKET/PREFIX`, `gs://...`, `az://...` or `file:///DIRECTORY`.

        With `keys`, objects are encrypted, and a storage whose objects are encrypted with another one is refused.
        It may be away; then that is found out later. Raises ObjectsError if it is there and cannot be used.
        """
        parts = urlsplit(url)
        backend = ObjectFiles(Path(unquote(parts.path))) if parts.scheme == "file" else RemoteObjects(url)
        store = cls(backend, account, keys)
        try:
            await store._check()
        except Unavailable:
            # It has been logged why.
            pass
        except BaseException:
            await store.close()
            raise
        return store

    async def put(self, key: str, data: bytes) -> None:
        """Write an object, durably. Whatever had the key is replaced.

        Raises TooLarge if it has more than MAX_OBJECT_BYTES, and Unavailable if the storage is.
        """
        _refuse_above(len(data), MAX_OBJECT_BYTES)
        await self._call("put", lambda _: self._backend.put(_checked(key), data), len(data))
        BYTES_WRITTEN.value += len(data)

    async def put_if_missing(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one of the same size, and return whether it was written.

        This is for keys that tell what is in an object. Two who do it at the same time may both write. Raises as `put`.
        """
        with suppress(ObjectMissing):
            if await self.size(key) == len(data):
                return False
        await self.put(key, data)
        return True

    async def get(self, key: str, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """The object with a key.

        Raises ObjectMissing if there is none, TooLarge if it has more than `max_bytes`, Overloaded if there is no
        memory for it, and Unavailable if the storage is.
        """
        with self._share.hold() as hold:
            return await self._get(key, hold, lambda size: _refuse_above(size, max_bytes))

    async def get_short(self, key: str, most: int) -> bytes | int:
        """The object with a key, or its size if it has more than `most` bytes. Raises as `get` does."""

        def admit(size: int) -> None:
            if size > most:
                raise _LongObject(size)

        with self._share.hold() as hold:
            try:
                return await self._get(key, hold, admit)
            except _LongObject as long:
                return long.size

    async def size(self, key: str) -> int:
        """The size of an object. Raises ObjectMissing if there is none, and Unavailable if the storage is."""
        return await self._call("size", lambda _: self._backend.size(_checked(key)))

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, those of them that exist. Raises Unavailable if the storage is: some may be gone then."""
        checked = list(map(_checked, keys))
        for start in range(0, len(checked), _LIST):
            some = checked[start : start + _LIST]
            await self._call("delete", lambda _, some=some: self._backend.delete(some))  # type: ignore[misc]

    async def delete_folder(self, folder: str) -> None:
        """Delete all objects whose keys begin with `folder` and `/`. Raises as `delete` does."""
        while found := await self.list_objects(folder):
            await self.delete([each.key for each in found])

    async def list_objects(self, folder: str = "", after: str = "", limit: int = _LIST) -> list[StoredObject]:
        """The first objects whose keys begin with `folder` and `/` and come after `after`, in the order of their keys.

        Raises Unavailable if the storage is.
        """
        return await self._call("list", lambda _: self._backend.list_objects(folder and _checked(folder), after, limit))

    async def answers(self) -> bool:
        """Whether it can be reached. It is asked if the call that ended last could not reach it."""
        if self.is_away:
            with suppress(ObjectMissing, Unavailable):
                await self.size(_ABSENT)
        return not self.is_away

    async def close(self) -> None:
        """Let go of the storage. Writes in a directory that have begun are completed."""
        await self._backend.close()

    async def _get(self, key: str, hold: MemoryHold, admit: Callable[[int], None]) -> bytes:
        def admit_in(limit: asyncio.Timeout) -> Callable[[int], None]:
            def admitted(size: int) -> None:
                admit(size)
                if size > READ_AT_ONCE:
                    # Its parts, and what they are put together to.
                    hold.grow(2 * size)
                    limit.reschedule((limit.when() or 0.0) + size / _BYTES_A_SECOND)

            return admitted

        data = await self._call("get", lambda limit: self._backend.get(_checked(key), admit_in(limit)))
        BYTES_READ.value += len(data)
        return data

    async def _check(self) -> None:
        """Look whether objects can be read and written, and whether one that is missing is told from one that is not.

        Raises ObjectsError if that will not change by itself, and Unavailable if the storage is away.
        """
        await self._strictly("start", lambda _: self._backend.check())
        with suppress(ObjectMissing):
            check_layout(await self._strictly("get", lambda _: self._backend.get(LAYOUT, lambda _: None)), self._keys)
        await self._strictly("put", lambda _: self._backend.put(LAYOUT, layout_of(self._keys)))
        with suppress(ObjectMissing):
            await self._strictly("size", lambda _: self._backend.size(_ABSENT))

    async def _call(self, what: ObjectOperation, work: Callable[[asyncio.Timeout], Awaitable[_T]], size: int = 0) -> _T:
        try:
            return await self._strictly(what, work, size)
        except ObjectsError as error:
            _log.error("object storage: %s: %s", what, error)
            raise Unavailable("the object storage refuses this server", retry_after=5.0) from None

    async def _strictly(
        self, what: ObjectOperation, work: Callable[[asyncio.Timeout], Awaitable[_T]], size: int = 0
    ) -> _T:
        """Do some work in its time. Raises ObjectMissing and ObjectsError as it does, and Unavailable."""
        began = time.monotonic()
        outcome: UpstreamOutcome = "ok"
        try:
            async with asyncio.timeout(CALL_SECONDS + size / _BYTES_A_SECOND) as limit, self._places:
                return await work(limit)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except ObjectsError:
            outcome = "error"
            raise
        except TimeoutError:
            outcome, reason = "unavailable", "no answer in time"
        except ObjectsAway as error:
            outcome, reason = "unavailable", str(error)
        finally:
            _CALLS[what].count(outcome, began)
            if outcome != "cancelled":
                self.is_away = outcome == "unavailable"
                if outcome != "ok":
                    self.failed_at = time.monotonic()
        _log.warning("object storage: %s: %s", what, reason)
        raise Unavailable("the object storage cannot be reached", retry_after=1.0)


class _LongObject(Exception):
    """An object is longer than is wanted."""

    def __init__(self, size: int) -> None:
        self.size = size


def _checked(key: str) -> str:
    """The key. Raises ValueError if it is none: keys are made by the gateway, from what has been checked."""
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"not the key of an object: {key!r:.100}")
    return key


def _refuse_above(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"an object of {size:,} bytes is too large: the limit is {limit:,}")
