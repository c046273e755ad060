"""The work of an item that shares with nobody: it always has a turn, a place and room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.concurrency.canceller import Canceller
from gateway.concurrency.memory_account import MemoryAccount
from gateway.flows.item_work import FamilyWork, ItemWork, SharedWork


class Alone(ItemWork):
    """Remembers the pauses that were asked for, in seconds, and makes none."""

    __slots__ = ("pauses",)

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.log = None
        self.held = 0
        self.goes_on: Any = self.has_room
        self.checkpoint: Any = self._checkpoint

    async def _checkpoint(self) -> None:
        pass

    def has_room(self) -> bool:
        return True

    def hold(self, size: int) -> None:
        self.held += size

    def hand_over(self, size: int) -> None:
        self.held -= size

    @property
    def canceller(self) -> Canceller:
        return Canceller()

    @asynccontextmanager
    async def _nothing(self) -> AsyncIterator[None]:
        yield

    def waiting(self) -> Any:
        return self._nothing()

    def call(self, scope: str) -> Any:
        return self._nothing()

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


ALONE = Alone()


def item_work(max_items: int = 1) -> ItemWork:
    """The work of an item that shares with others as in a gateway. It needs an event loop."""
    return ItemWork(FamilyWork(SharedWork(max_items, MemoryAccount())))
