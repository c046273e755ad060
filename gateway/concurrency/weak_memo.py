"""What was made of objects, for as long as the objects live."""

import weakref
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class WeakMemo(Generic[K, V]):
    """Keeps a value for each object, until the object is gone.

    Objects count by identity: they need not be hashable, and equal ones have values of their own. A lookup costs little
    more than that of an attribute, since it is done for each follower of each update.
    """

    def __init__(self) -> None:
        self._entries: dict[int, _Entry[K, V]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, owner: K) -> V | None:
        """The value of an object; None if it has none."""
        entry = self._entries.get(id(owner))
        return None if entry is None else entry.value

    def set(self, owner: K, value: V) -> V:
        """Give an object its value, and return the value. The value must not refer to the object."""
        entry: _Entry[K, V] = _Entry(owner, self._forget)
        entry.key, entry.value = id(owner), value
        self._entries[entry.key] = entry
        return value

    def _forget(self, entry: "weakref.ref[K]") -> None:
        # No other object gets the id before this has been called.
        del self._entries[entry.key]  # type: ignore[attr-defined]


class _Entry(weakref.ref[K], Generic[K, V]):
    """A reference to an object that holds the object's value: one allocation instead of three."""

    __slots__ = ("key", "value")

    key: int
    value: V
