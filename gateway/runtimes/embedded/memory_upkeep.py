"""The upkeep of a state in memory."""

from collections.abc import Callable, Collection, Sequence

from gateway.core.model import Nanoseconds
from gateway.runtimes.embedded.upkeep import IdleBlobs, Upkeep


class MemoryUpkeep(Upkeep):
    """`is_referred` tells whether a run refers to a blob, and `remove` removes one."""

    def __init__(self, is_referred: Callable[[str], bool], remove: Callable[[str], None]) -> None:
        self._is_referred = is_referred
        self._remove = remove
        self._uses: dict[str, Nanoseconds] = {}

    def put(self, blob_id: str, moment: Nanoseconds) -> None:
        """A blob is put."""
        self._uses[blob_id] = moment

    async def use_blobs(self, blob_ids: Collection[str], moment: Nanoseconds) -> None:
        self._uses.update((blob_id, moment) for blob_id in blob_ids if blob_id in self._uses)

    async def idle_blobs(self, after: str, before: Nanoseconds) -> IdleBlobs:
        idle = [blob_id for blob_id, used in self._uses.items() if used < before and not self._is_referred(blob_id)]
        return IdleBlobs(idle, None)

    async def delete_blobs(self, blob_ids: Sequence[str]) -> None:
        for blob_id in blob_ids:
            if blob_id in self._uses and not self._is_referred(blob_id):
                del self._uses[blob_id]
                self._remove(blob_id)

    async def give_back(self) -> bool:
        return False
