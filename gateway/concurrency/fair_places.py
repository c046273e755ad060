"""A limit on how many tasks do something at the same time, shared fairly by parties with any number of tasks each."""

import asyncio
from collections import deque
from typing import Final

_RESERVE_FRACTION: Final = 8
"""One place in so many is kept for parties that have no place."""


class FairPlaces:
    """At most `limit` places, which parties take in rotation.

    A part of the places goes only to parties that have none: so a party whose tasks keep their places for long does not
    lock the others out. Tasks that have given their place back for a while come before new ones.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self.paused = 0
        """How many tasks have given up their place for a pause. Those who pause count them."""
        self._common = limit - limit // _RESERVE_FRACTION
        self._returning: deque[tuple[PlacesParty, asyncio.Future[None]]] = deque()
        self._without: deque[PlacesParty] = deque()
        self._with: deque[PlacesParty] = deque()
        self._prefer_without = True

    def party(self) -> "PlacesParty":
        """One more party."""
        return PlacesParty(self)

    @property
    def has_waiters(self) -> bool:
        """Whether tasks wait for places."""
        return bool(self._returning or self._without or self._with)

    def is_free(self, held: int) -> bool:
        """Whether a party that holds `held` places may take one more at once."""
        return self.taken < (self._common if held else self.limit)

    def _enter(self, party: "PlacesParty") -> None:
        (self._with if party.held else self._without).append(party)

    def _emptied(self, party: "PlacesParty") -> None:
        """A party that waits has lost its last place."""
        if party.waiting and party in self._with:
            self._with.remove(party)
            self._without.append(party)

    def _give(self) -> None:
        """Give free places to tasks that wait."""
        while self._returning and self.taken < self.limit:
            party, task = self._returning.popleft()
            if not task.done():
                party.count(1)
                task.set_result(None)
        while (following := self._next_party()) is not None:
            if following.give() and following.waiting:
                self._with.append(following)

    def _next_party(self) -> "PlacesParty | None":
        """The party that gets the next place, taken out of its queue."""
        if self._returning or self.taken >= self.limit:
            return None
        with_ = self._with if self.taken < self._common else None
        first, second = (self._without, with_) if self._prefer_without else (with_, self._without)
        self._prefer_without = not self._prefer_without
        queue = first or second
        return queue.popleft() if queue else None


class PlacesParty:
    """The tasks of one party."""

    __slots__ = ("_places", "_tasks", "held")

    def __init__(self, places: FairPlaces) -> None:
        self._places = places
        self._tasks: deque[asyncio.Future[None]] = deque()
        self.held = 0

    @property
    def waiting(self) -> int:
        """How many new tasks wait for a place."""
        return len(self._tasks)

    def take_if_free(self) -> bool:
        """Take a place if there is one and nobody waits for one; False if not."""
        places = self._places
        if not places.is_free(self.held) or places.has_waiters:
            return False
        self.held += 1
        places.taken += 1
        return True

    async def take(self) -> None:
        """Take a place; wait until it is the turn of this party to get one."""
        places = self._places
        if self.take_if_free():
            return
        task = asyncio.get_running_loop().create_future()
        if not self._tasks:
            self._tasks.append(task)
            places._enter(self)
        else:
            self._tasks.append(task)
        places._give()
        await self._given(task)

    async def take_back(self) -> None:
        """Take a place again, before tasks that have not had one."""
        places = self._places
        if not places._returning and places.taken < places.limit:
            self.count(1)
            return
        task = asyncio.get_running_loop().create_future()
        places._returning.append((self, task))
        await self._given(task)

    def count(self, change: int) -> None:
        """Hold one place more, even beyond the limit, or one less."""
        self.held += change
        self._places.taken += change

    def give_back(self) -> None:
        """Give a place back."""
        places = self._places
        self.held -= 1
        places.taken -= 1
        if places._returning or places._without or places._with:
            if not self.held:
                places._emptied(self)
            places._give()

    def give(self) -> bool:
        """Give the place that is free to the first task that waits; False if none does."""
        while self._tasks:
            task = self._tasks.popleft()
            if not task.done():
                self.count(1)
                task.set_result(None)
                return True
        return False

    async def _given(self, task: "asyncio.Future[None]") -> None:
        try:
            await task
        except asyncio.CancelledError:
            if task.done() and not task.cancelled():
                self.give_back()
            raise
