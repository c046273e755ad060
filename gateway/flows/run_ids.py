"""The ids of runs, and the clock of the state that is in them."""

import os
from functools import lru_cache
from typing import Final

from gateway.core.clock import LATEST, now
from gateway.core.model import Nanoseconds

_CHANCE: Final = (1 << 62) - 1
_LENGTH: Final = 36
_VERSION: Final = 14
_VARIANT: Final = 0b10 << 62

_LATEST: Final = 1_024
"""Of how many ids the keys are kept: that of a new run is asked for several times."""


class RunIds:
    """Makes ids that grow, also if the clock is set back, and over restarts: UUIDs of version 7.

    Their 60 upper bits that are free count 4,096ths of a millisecond. Runs that are accepted one after the other are
    neighbours in the index of the journal. Each change of a run takes such a number as well: so they are the clock of
    the state, in which no two things happen at the same time.
    """

    def __init__(self) -> None:
        self.last = 0
        """The number that was taken last."""

    def begin_after(self, run_id: str) -> None:
        """Make ids that are larger than this one."""
        self.pass_by(key_of(run_id) or 0)

    def pass_by(self, number: int) -> None:
        """Take numbers that are larger than this one."""
        self.last = max(self.last, number)

    def next(self, moment: Nanoseconds) -> str:
        """An id for a run that is accepted at this time."""
        self.last = last = max(self.last + 1, (moment << 12) // 1_000_000)
        chance = int.from_bytes(os.urandom(8)) & _CHANCE | _VARIANT
        return f"{id_prefix(last)}{chance >> 48:04x}-{chance & 0xFFFF_FFFF_FFFF:012x}"

    def tick(self) -> int:
        """Take the next number, for a change. More of them fit a second than a process makes.

        It is the time, so that nobody can count by it what others do, unless the clock has been set back.
        """
        moment = now()
        self.last = last = max(self.last + 1, (moment << 12) // 1_000_000 if moment < LATEST else 0)
        return last


@lru_cache(_LATEST)
def key_of(run_id: str) -> int | None:
    """The number in a run id; None if it is not an id of version 7."""
    if len(run_id) != _LENGTH or run_id[_VERSION] != "7":
        return None
    return int(run_id[:8] + run_id[9:13] + run_id[15:18], 16)


def id_prefix(key: int) -> str:
    """How the id with this key begins. The ids of version 7 have the order of their keys."""
    return f"{key >> 28:08x}-{key >> 12 & 0xFFFF:04x}-7{key & 0xFFF:03x}-"


RUN_IDS: Final = RunIds()
"""The ids of all runs that this process accepts."""
