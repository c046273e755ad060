"""A cache that is bounded by the number of its entries and by their sizes together."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps the latest entries: at most `max_entries`, whose sizes add up to at most `max_size`.

    The latest entry is kept even if it alone is larger. The unit of sizes is up to the caller.
    """

    def __init__(self, max_entries: int, max_size: int = 0) -> None:
        self._max_entries = max_entries
        self._max_size = max_size
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def values(self) -> Iterator[V]:
        """Iterate over the entries, the oldest first."""
        return (value for value, _ in self._entries.values())

    def get(self, key: K) -> V | None:
        """The entry with this key; None if there is none."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: K, value: V, size: int = 0) -> None:
        """Keep an entry, in place of an earlier one with this key; the oldest ones make room for it."""
        self.remove(key)
        self._entries[key] = value, size
        self._size += size
        while len(self._entries) > self._max_entries or (self._size > self._max_size and len(self._entries) > 1):
            _, (_, size) = self._entries.popitem(last=False)
            self._size -= size

    def use(self, key: K) -> V | None:
        """The entry with this key, which is the latest from now on; None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def touch(self, key: K) -> None:
        """Let an entry be the latest, if it is there."""
        if key in self._entries:
            self._entries.move_to_end(key)

    def remove(self, key: K) -> None:
        """Forget an entry, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry[1]

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()
        self._size = 0
