"""Submits in doubt: their answers were lost, so the engine may have accepted the run or not.

A submit with an idempotency key must not be doubled when it is repeated, and the engine offers no field to mark a run
with. So the engine's list of runs is searched for a run that the submit may have made: it has the same flow and number
of items, was created while the submit was under way, and was not the answer to another submit. If there is no such run,
the engine has not accepted the submit. Submits in doubt are kept in memory; a restart of the gateway forgets them.
"""

from typing import Final, NamedTuple

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.errors import RemoteError
from gateway.core.model import Nanoseconds, RunStatus
from gateway.core.owner import DEFAULT_NAMESPACE

CLOCK_SKEW: Final = 5 * 10**9
"""By how much the clocks of engine and gateway may differ, in nanoseconds."""

MAX_SEARCHED: Final = 1_000
"""How many of the engine's latest runs are searched."""

MAX_IN_DOUBT: Final = 10_000
"""How many submits in doubt are remembered; beyond it, the oldest are forgotten."""

MAX_ANSWERED: Final = 10_000
"""How many runs are remembered as the answers to other submits; beyond it, the oldest are forgotten."""


class ScopedKey(NamedTuple):
    """An idempotency key in its namespace and scope."""

    scope: str
    key: str
    namespace: str = DEFAULT_NAMESPACE


class InDoubtSubmit(NamedTuple):
    """A submit without an answer: what was submitted, and between which times it was under way."""

    fingerprint: str
    flow_id: str
    items: int
    began: Nanoseconds
    ended: Nanoseconds
    namespace: str = DEFAULT_NAMESPACE

    def may_have_made(self, run: RunStatus) -> bool:
        """Tell whether the run may be that of this submit."""
        return (
            run.flow_id == self.flow_id
            and run.items.total == self.items
            and run.parent_run_id is None
            and self.began - CLOCK_SKEW <= run.created_at <= self.ended + CLOCK_SKEW
        )


class InDoubtSubmits:
    """The submits in doubt by their keys, and the runs that other submits have made."""

    def __init__(self) -> None:
        self._in_doubt: BoundedCache[ScopedKey, InDoubtSubmit] = BoundedCache(MAX_IN_DOUBT)
        self._answered: BoundedCache[str, None] = BoundedCache(MAX_ANSWERED)

    def add(self, key: ScopedKey, submit: InDoubtSubmit) -> None:
        """Remember a submit whose answer was lost."""
        self._in_doubt.put(key, submit)

    def get(self, key: ScopedKey, fingerprint: str) -> InDoubtSubmit | None:
        """Return the earlier submit of this key if it is in doubt and had the same fingerprint."""
        submit = self._in_doubt.get(key)
        return submit if submit is not None and submit.fingerprint == fingerprint else None

    def settle(self, key: ScopedKey | None, run_id: str) -> None:
        """Note that a submit was answered with this run, so that the run cannot be that of another one."""
        if key is not None:
            self._in_doubt.remove(key)
        self._answered.put(run_id, None)

    def find_run(self, submit: InDoubtSubmit, runs: list[RunStatus]) -> str | None:
        """Return the id of the run that a submit in doubt has made, or None if it has made none of these.

        Raises RemoteError if several runs match, and it cannot be told which one is the submit's.
        """
        candidates = [run.run_id for run in runs if submit.may_have_made(run) and run.run_id not in self._answered]
        if not candidates:
            return None
        kind = (submit.flow_id, submit.items)
        similar = [other for other in self._in_doubt.values() if (other.flow_id, other.items) == kind]
        if len(candidates) > len(similar) or any(other.fingerprint != submit.fingerprint for other in similar):
            raise _undecided(candidates if _is_of_default(submit, *similar) else [])
        return candidates[0]


def _is_of_default(*submits: InDoubtSubmit) -> bool:
    """Whether all are of the default namespace: a run that nobody was answered with may be of any of them."""
    return all(submit.namespace == DEFAULT_NAMESPACE for submit in submits)


def _undecided(candidates: list[str]) -> RemoteError:
    named = f": {', '.join(candidates[:10])}; look at them, and" if candidates else ";"
    return RemoteError(
        RemoteError.code,
        f"the answer to this submit was lost, and the engine has several runs that it may have made{named}"
        " submit with another idempotency key if none of them is the one",
    )
