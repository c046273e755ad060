"""The changes of runs as a journal has them: their ends, and what is left of those that were deleted."""

from typing import NamedTuple

from msgspec import Struct

from gateway.adapter.params_json import labels_from_json
from gateway.core.model import ItemStatistics, JsonText, Nanoseconds, RunState, RunStatus
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.flows.run_record import Outcome, RunRecord

LONGEST_KEPT = 1_024
"""The longest text of a deleted run that is kept, in characters."""


class Tombstone(Struct, frozen=True, gc=False, array_like=True):
    """A run that has been deleted: what filters ask for, and the number of its end, which is 0 if it is not known.

    Long texts are left out: then it is not `complete`, and nobody knows whether the run had matched.
    """

    run_id: str
    flow_id: str
    flow_name: str | None
    flow_label: str | None
    created_at: Nanoseconds
    parent_id: str | None
    root_id: str | None
    labels: JsonText | None
    state: RunState
    ended: int
    complete: bool
    namespace: str = DEFAULT_NAMESPACE

    @classmethod
    def of(cls, record: "RunRecord", outcome: "Outcome") -> "Tombstone":
        """The tombstone of a run that has ended."""
        complete = len(record.flow_name or "") <= LONGEST_KEPT and len(record.labels or "") <= LONGEST_KEPT
        return cls(
            run_id=record.run_id,
            flow_id=record.flow_id,
            flow_name=record.flow_name if complete else None,
            flow_label=record.flow_label,
            created_at=record.created_at,
            parent_id=record.parent_id,
            root_id=record.root_id,
            labels=record.labels if complete else None,
            state=outcome.status,
            ended=outcome.changed or 0,
            complete=complete,
            namespace=record.namespace,
        )

    def status(self) -> RunStatus:
        """The last state of the run, as far as it is known."""
        return RunStatus(
            run_id=self.run_id,
            flow_id=self.flow_id,
            flow_name=self.flow_name,
            flow_label=self.flow_label,
            status=self.state,
            items=ItemStatistics(total=0),
            created_at=self.created_at,
            labels={} if self.labels is None else labels_from_json(self.labels),
            parent_run_id=self.parent_id,
            root_run_id=self.root_id,
            namespace=self.namespace,
        )


class Removal(NamedTuple):
    """A run that is deleted, and the number of this change."""

    number: int
    tombstone: Tombstone


class Change(NamedTuple):
    """The last change of a run that has ended, or has been deleted, and its number."""

    number: int
    run: "tuple[RunRecord, Outcome] | Tombstone"


class Changes(NamedTuple):
    """Some changes in their order. All up to the number `reached` are told; `more` may follow."""

    changes: list[Change]
    reached: int
    more: bool
