"""When streams end that would go on: each at its own age, and all of them, a few at a time, when a server stops.

A stream ends between two of its messages, and its client goes on where it stopped: over a new connection, which may
lead elsewhere.
"""

import asyncio
import math
import random
from collections.abc import Callable
from typing import Final, Self

from gateway.core.errors import go_away, shutting_down

JITTER: Final = 0.1
"""By which part of it an age is longer or shorter, at random: streams that began together do not end together."""

WAVE_SECONDS: Final = 0.05
"""Seconds between two waves of streams that end when the server stops."""

_AT_ONCE: Final = 32
"""How many streams are ended in one turn of the event loop."""


def spread(age: float, chance: Callable[[], float] = random.random) -> float:
    """An age in seconds, longer or shorter by chance."""
    return age * (1 - JITTER + 2 * JITTER * chance())


def last_moment(age: float, grace: float) -> float:
    """How many seconds after the age of a connection its calls are cut that have `grace` seconds to end.

    A stream may have begun just before, and has its own age to end in order.
    """
    return age * (1 + JITTER) + grace


class StreamLives:
    """The streams of a front. Each is told to end when it is as old as `age` seconds, more or less; None: never."""

    def __init__(self, age: float | None = None, *, chance: Callable[[], float] = random.random) -> None:
        self._age = age
        self._chance = chance
        self._lives: dict[StreamLife, None] = {}
        self._ending = False

    @property
    def open(self) -> int:
        """How many streams are open that have not been told to end."""
        return len(self._lives)

    def begin(self, end: Callable[[], None], *, lasts: bool = True) -> "StreamLife":
        """A stream begins, and lasts until the life is closed, which closes itself as a context.

        `end` is called once, when the stream is to end; never within this call, and never if the stream does not last:
        then it ends soon by itself. Raises Unavailable if all streams are ended.
        """
        life = StreamLife(self, end)
        if not lasts:
            return life
        if self._ending:
            raise shutting_down()
        self._lives[life] = None
        if self._age is not None:
            life.end_after(spread(self._age, self._chance))
        return life

    def end(self, life: "StreamLife") -> None:
        """The stream has ended, or has been told to."""
        self._lives.pop(life, None)

    async def end_all(self, seconds: float) -> None:
        """End all streams within `seconds`, a few at a time, and let none begin. Returns when all have been told."""
        self._ending = True
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while self._lives:
            waves = max(1, math.ceil((end - clock()) / WAVE_SECONDS))
            for number in range(math.ceil(len(self._lives) / waves)):
                if not self._lives:
                    return
                next(iter(self._lives)).end()
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
            if self._lives:
                await asyncio.sleep(WAVE_SECONDS)


class StreamLife:
    """The life of one stream. `over` says that the stream is to end before its next message."""

    __slots__ = ("_end", "_lives", "_timer", "over")

    def __init__(self, lives: StreamLives, end: Callable[[], None]) -> None:
        self.over = False
        self._lives = lives
        self._end: Callable[[], None] | None = end
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def end_after(self, seconds: float) -> None:
        """Tell the stream to end after so many seconds."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def end(self) -> None:
        """Tell the stream to end."""
        end = self._end
        self.close()
        if end is not None:
            self.over = True
            end()

    def close(self) -> None:
        """The stream has ended."""
        self._lives.end(self)
        self._end = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def check(self) -> None:
        """Raises GoAway if the stream was told to end."""
        if self.over:
            raise go_away()
