"""What is below an object store: a directory, or a service elsewhere."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

READ_AT_ONCE: Final = 64 << 10
"""So much is read before its size is known to be small."""


class ObjectsError(Exception):
    """The object storage cannot be used as it is set up; the message says why, in one line without URLs or secrets."""


class ObjectsAway(Exception):
    """The object storage does not answer, or not in time; the message says why, in a few words for the log."""


class ObjectMissing(KeyError):
    """No object has this key."""


class StoredObject(NamedTuple):
    """An object in a list."""

    key: str
    size: int


class ObjectBackend(ABC):
    """Keeps objects under keys that have been checked.

    Every method raises ObjectsAway if it may work another time, and ObjectsError if somebody has to act. A call that is
    cancelled leaves an object as it was, or written as a whole.
    """

    @abstractmethod
    async def put(self, key: str, data: bytes) -> None:
        """Write an object durably and as a whole. Whatever had the key is replaced."""

    @abstractmethod
    async def get(self, key: str, admit: Callable[[int], None]) -> bytes:
        """The object. `admit` is told its size before more than 64 KiB are read, and may raise what the call then
        raises. Raises ObjectMissing if there is none.
        """

    @abstractmethod
    async def size(self, key: str) -> int:
        """The size of an object. Raises ObjectMissing if there is none."""

    @abstractmethod
    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. Those that do not exist are none."""

    @abstractmethod
    async def list_objects(self, folder: str, after: str, limit: int) -> list[StoredObject]:
        """The first objects below a folder (the root, if it is empty) whose keys come after `after`, in their order."""

    @abstractmethod
    async def check(self) -> None:
        """Look whether the storage is there and is set up for use."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what it holds."""
