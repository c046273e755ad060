"""Which runs are kept, and for how long: ordered rules, of which the first that matches a run counts."""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import msgspec

from gateway.core.clock import LATEST
from gateway.core.model import Nanoseconds, RunState
from gateway.core.run_filter import RunFilter, fits
from gateway.flows.run_record import Outcome, RunRecord

DEFAULT_KEEP_BLOBS: Final = 7 * 86_400.0
"""How long blobs are kept that nothing refers to, in seconds, unless told otherwise."""

_LABELS: Final = msgspec.json.Decoder(dict[str, str])


class KeepRule(NamedTuple):
    """For how many seconds after their end runs are kept that match a filter; None: for ever."""

    wanted: RunFilter
    keep: float | None


class Retention(NamedTuple):
    """Rules for runs that have ended.

    Those that no rule concerns are kept for `keep` seconds, and `keep_runs` of them in each namespace.

    `keep_blobs`: for how many seconds blobs are kept that no run refers to. None is for ever, and any number.
    """

    rules: tuple[KeepRule, ...] = ()
    keep: float | None = None
    keep_runs: int | None = None
    keep_blobs: float | None = DEFAULT_KEEP_BLOBS

    @property
    def keeps_all_runs(self) -> bool:
        """Whether no run is ever deleted."""
        return self.keep_runs is None and not self.times

    @property
    def times(self) -> dict[int, float]:
        """The rules that let runs go after some time, by their numbers; `len(rules)` is that of all others."""
        keeps = [*(rule.keep for rule in self.rules), self.keep]
        return {number: keep for number, keep in enumerate(keeps) if keep is not None}

    def rule_of(self, flow_label: str | None, labels: str | None, state: RunState, namespace: str) -> int:
        """The number of the first rule that matches a run; `len(rules)` if none does. `labels` is a JSON object."""
        for number, (wanted, _) in enumerate(self.rules):
            if (
                (not wanted.states or state in wanted.states)
                and (wanted.flow_label is None or fits(wanted.flow_label, flow_label))
                and (wanted.namespace is None or wanted.namespace == namespace)
                and (not wanted.labels or (labels and wanted.labels.items() <= _LABELS.decode(labels).items()))
            ):
                return number
        return len(self.rules)

    def expires_at(self, record: "RunRecord", outcome: "Outcome") -> Nanoseconds | None:
        """When a run is deleted that has ended; None if that is not known."""
        if self.keep is None and not self.rules:
            return None
        number = self.rule_of(record.flow_label, record.labels, outcome.status, record.namespace)
        keep = self.rules[number].keep if number < len(self.rules) else self.keep
        return None if keep is None else min(outcome.completed_at + round(keep * 1e9), LATEST)


Expiry: TypeAlias = "Callable[[RunRecord, Outcome], Nanoseconds | None]"
"""Tells when a run is deleted that has ended."""

KEEP_ALL: Final = Retention(keep_blobs=None)
"""Nothing is ever deleted."""
