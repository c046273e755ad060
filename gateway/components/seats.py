"""Which tasks component servers execute at the moment: what they may do beside depends on it."""

import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from urllib.parse import quote


class Seat:
    """One life of a component server, and the tasks that it executes. No other life has its name.

    `blob_api_url` is what the server is told of the blob API; None if it has none.
    """

    __slots__ = ("__weakref__", "_tasks", "blob_api_url", "name")

    def __init__(self, name: str, blob_api_url: str | None) -> None:
        self.name = name
        self.blob_api_url = blob_api_url
        self._tasks: Counter[str] = Counter()

    @property
    def tasks(self) -> Collection[str]:
        """The tasks that the server executes: the scopes of their callbacks."""
        return self._tasks.keys()

    @contextmanager
    def executing(self, scope: str) -> Iterator[None]:
        """The server executes a task while the block lasts."""
        self._tasks[scope] += 1
        try:
            yield
        finally:
            self._tasks[scope] -= 1
            if not self._tasks[scope]:
                del self._tasks[scope]


class Seats:
    """The seats of all servers. `url` is that of the blob API for the server with a name."""

    def __init__(self, url: Callable[[str], str | None]) -> None:
        self._url = url
        self._taken: weakref.WeakValueDictionary[str, Seat] = weakref.WeakValueDictionary()
        self._number = 0

    def take(self, prefix: str) -> Seat:
        """A seat for a server that begins to live, with components below a prefix."""
        self._number += 1
        name = f"{self._number}{quote(prefix)}"
        seat = self._taken[name] = Seat(name, self._url(name))
        return seat

    def tasks(self, name: str) -> Collection[str]:
        """The tasks that the server with this name executes; none if it lives no more."""
        seat = self._taken.get(name)
        return () if seat is None else seat.tasks
