"""Submits whose answer was lost: the engine may have accepted the run, or not.

A submit with an idempotency key must not be doubled when it comes again. An engine takes no mark with a run by which it
could be found again. So its list of runs is searched for one that the lost submit may have made: of the same flow, with
as many items, of that time, and that no other submit was answered with. If there is none, the engine has not accepted
it. What is known of lost submits is in memory: it does not survive the gateway.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from gateway.core.errors import RemoteError
from gateway.core.model import Nanoseconds
from gateway.runtimes.stepflow.stepflow_json import StoredRun

CLOCK_SKEW: Final = 5 * 10**9
"""By how much the clocks of engine and gateway may differ, in nanoseconds."""

SEARCHED: Final = 1_000
"""How many of the engine's latest runs are searched."""

MAX_LOST: Final = 10_000
"""How many lost submits are remembered; the oldest are forgotten beyond it."""

MAX_GIVEN: Final = 10_000
"""How many runs are remembered that other submits were answered with."""


class Name(NamedTuple):
    """An idempotency key in its scope."""

    scope: str
    key: str


class LostSubmit(NamedTuple):
    """A submit without an answer: what was submitted, and between which times it was under way."""

    fingerprint: str
    flow_id: str
    items: int
    began: Nanoseconds
    ended: Nanoseconds

    def may_be(self, run: StoredRun) -> bool:
        """Whether this submit may have made a run."""
        return (
            run.flow_id == self.flow_id
            and run.items == self.items
            and run.parent_run_id is None
            and self.began - CLOCK_SKEW <= run.created_at <= self.ended + CLOCK_SKEW
        )


class LostSubmits:
    """The lost submits with a key, and the runs that cannot be theirs."""

    def __init__(self) -> None:
        self._lost: OrderedDict[Name, LostSubmit] = OrderedDict()
        self._given: OrderedDict[str, None] = OrderedDict()

    def add(self, name: Name, lost: LostSubmit) -> None:
        """Remember a submit whose answer was lost."""
        self._lost[name] = lost
        if len(self._lost) > MAX_LOST:
            self._lost.popitem(last=False)

    def get(self, name: Name, fingerprint: str) -> LostSubmit | None:
        """The earlier submit of this key that was lost, if it was the same one."""
        lost = self._lost.get(name)
        return lost if lost is not None and lost.fingerprint == fingerprint else None

    def settle(self, name: Name | None, run_id: str) -> None:
        """A submit was answered with this run: it is nobody else's."""
        if name is not None:
            self._lost.pop(name, None)
        self._given[run_id] = None
        if len(self._given) > MAX_GIVEN:
            self._given.popitem(last=False)

    def found(self, lost: LostSubmit, runs: list[StoredRun]) -> str | None:
        """The run that a lost submit has made; None if it has made none. RemoteError if it cannot be told."""
        candidates = [run.run_id for run in runs if lost.may_be(run) and run.run_id not in self._given]
        if not candidates:
            return None
        similar = [other for other in self._lost.values() if (other.flow_id, other.items) == (lost.flow_id, lost.items)]
        if len(candidates) > len(similar) or any(other.fingerprint != lost.fingerprint for other in similar):
            raise RemoteError(
                RemoteError.code,
                "the answer to this submit was lost, and the engine has several runs that it may have made:"
                f" {', '.join(candidates[:10])}; look at them, and submit with another idempotency key if it is none",
            )
        return candidates[0]
