"""Long answers, which a transport copies as a whole while it holds the interpreter, and keeps until they are read."""

import asyncio
import time
from collections import Counter
from typing import Final, NamedTuple

from gateway.core.errors import Overloaded

LONG: Final = 1 << 20
"""Answers above so many bytes are long."""

PAUSE: Final = 0.005
"""The least time, in seconds, that others have between two long answers."""

WAIT_SECONDS: Final = 10.0
"""How long an answer waits for others to be read."""

_LEAST_ROOM: Final = 256 << 20
_MOST_ROOM: Final = 1 << 30
_ROOM_FRACTION: Final = 8


class LongAnswers:
    """Lets long answers follow each other with pauses, and bounds how much of them clients have not read.

    Together they take an eighth of `memory` bytes, but at least 256 MiB and at most 1 GiB; and no client has more than
    it leaves to others. Further answers wait for 10 seconds, blobs before they are read. The account bounds all of them
    as well.
    """

    def __init__(self, memory: int) -> None:
        self._room = min(_MOST_ROOM, max(_LEAST_ROOM, memory // _ROOM_FRACTION))
        self._held = 0
        self._held_by: Counter[str] = Counter()
        self._waiting: list[_WaitingAnswer] = []
        self._turn = asyncio.Lock()

    async def take(self, peer: str, size: int) -> None:
        """Hold `size` bytes for a client until `give_back`, if need be after others have given back theirs.

        An empty `peer` stands for any number of clients. Raises Overloaded if there is no room for too long.
        """
        if not self._take(peer, size):
            waiting = _WaitingAnswer(peer, size, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await waiting.taken
            except BaseException as error:
                self._leave(waiting)
                if isinstance(error, TimeoutError):
                    message = "other clients do not read the long answers that they asked for"
                    raise Overloaded(message, retry_after=1.0) from None
                raise

    def give_back(self, peer: str, size: int) -> None:
        """Hold `size` bytes less for a client: the answer has been read, or will not be."""
        self._held -= size
        self._held_by[peer] -= size
        if not self._held_by[peer]:
            del self._held_by[peer]
        if self._waiting:
            self._waiting = [waiting for waiting in self._waiting if not self._serve(waiting)]

    async def turn(self) -> None:
        """Wait until it is the turn of an answer. What is done with it without a pause is measured from here on.

        Others have as much time before it is the turn of the next answer.
        """
        await self._turn.acquire()
        asyncio.get_running_loop().call_soon(self._pass_on, time.monotonic())

    def _take(self, peer: str, size: int) -> bool:
        # The first answer of all has room in any case.
        left = self._room - self._held - size
        if self._held and (left < 0 or (peer and self._held_by[peer] + size > left)):
            return False
        self._held += size
        self._held_by[peer] += size
        return True

    def _serve(self, waiting: "_WaitingAnswer") -> bool:
        if waiting.taken.done():
            return True
        if not self._take(waiting.peer, waiting.size):
            return False
        waiting.taken.set_result(None)
        return True

    def _leave(self, waiting: "_WaitingAnswer") -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        if waiting.taken.done() and not waiting.taken.cancelled():
            self.give_back(waiting.peer, waiting.size)

    def _pass_on(self, begun: float) -> None:
        pause = max(PAUSE, time.monotonic() - begun)
        asyncio.get_running_loop().call_later(pause, self._turn.release)


class _WaitingAnswer(NamedTuple):
    peer: str
    size: int
    taken: asyncio.Future[None]
