"""What a journal does now and then: it lets blobs go that nobody needs, and gives room back."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import NamedTuple

from gateway.core.model import Nanoseconds


class IdleBlobs(NamedTuple):
    """Ids of blobs that may go, and where to look for more; None if there are no more."""

    blob_ids: list[str]
    rest: str | None


class Upkeep(ABC):
    """The upkeep of a journal, in steps of some milliseconds. Every method raises Unavailable as `Journal` does."""

    @abstractmethod
    async def use_blobs(self, blob_ids: Collection[str], moment: Nanoseconds) -> None:
        """Note that blobs were used at this time, those that exist."""

    @abstractmethod
    async def idle_blobs(self, after: str, before: Nanoseconds) -> IdleBlobs:
        """Find blobs that were not used since `before`, and that no run refers to, among the first ones after an id."""

    @abstractmethod
    async def delete_blobs(self, blob_ids: Sequence[str]) -> None:
        """Delete blobs, as long as no run refers to them."""

    @abstractmethod
    async def give_back(self) -> bool:
        """Give some room back to the file system, if there is much of it; return whether there is more."""
