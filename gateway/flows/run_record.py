"""A run as it was accepted, and its end."""

from msgspec import Struct

from gateway.core.model import JsonText, Nanoseconds, RunState
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.flows.run_owners import namespace_of


class RunRecord(Struct, frozen=True, gc=False, array_like=True):
    """A run as it was accepted.

    `variables`, `observability` and `labels` are JSON objects. `key` is the idempotency key, which is unique within
    `scope`; `fingerprint` is a digest of the parameters that came with it. A run that was submitted inside another one
    has a `depth` above 0, and `root_id` is the run that all of them are inside; `parent_id` is the one that submitted
    it. A run that has not ended at its `deadline` is cancelled. `owner` is an `Owner` as a JSON array; None is nobody.
    The namespace is a part of `scope`, so the same key in two namespaces is of two runs.
    """

    run_id: str
    flow_id: str
    flow_name: str | None
    flow_label: str | None
    total: int
    max_concurrency: int | None
    overrides: JsonText | None
    variables: JsonText
    observability: JsonText | None
    scope: str
    key: str | None
    fingerprint: str
    created_at: Nanoseconds
    depth: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    labels: JsonText | None = None
    deadline: Nanoseconds | None = None
    owner: JsonText | None = None

    @property
    def namespace(self) -> str:
        """The namespace that the run is in."""
        return DEFAULT_NAMESPACE if self.owner is None else namespace_of(self.owner)


class Outcome(Struct, frozen=True, gc=False, array_like=True):
    """The end of a run: its status, the numbers of its items, and the times at which it ended and had started.

    `changed` is the number of this change, for the log of changes. Of a run that had ended when it was accepted, it is
    the one in its id, and may be left out.
    """

    status: RunState
    success: int
    failed: int
    completed_at: Nanoseconds
    cancelled: int = 0
    started_at: Nanoseconds | None = None
    cancel_reason: str | None = None
    changed: int | None = None
