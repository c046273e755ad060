"""Which runs: the filter of lists, of sets, and of calls that concern many runs."""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, field

from gateway.core.model import (
    MAX_KEY_LENGTH,
    Labels,
    Message,
    Nanoseconds,
    RunState,
    RunStatus,
)

MAX_FLOW_IDS: Final = 100
"""The most flows that a filter names."""

_Pattern = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH + 1)]


class RunOrder(StrEnum):
    """The order of runs in a list."""

    NEWEST_FIRST = "newestFirst"
    OLDEST_FIRST = "oldestFirst"


class RunFilter(Message, frozen=True, kw_only=True):
    """A run matches if it meets every condition that is given; without any, all runs match.

    `flow_label` and `flow_name` match exactly, or, with a `*` at the end, what begins with the text before it. Ids are
    canonical. `created_after` is included, `created_before` is not.
    """

    states: tuple[RunState, ...] = ()
    flow_ids: Annotated[tuple[str, ...], Meta(max_length=MAX_FLOW_IDS)] = ()
    flow_label: _Pattern | None = None
    flow_name: _Pattern | None = None
    created_after: Nanoseconds | None = None
    created_before: Nanoseconds | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    roots_only: bool = False
    labels: Labels = field(default_factory=dict)

    def matches(self, run: RunStatus) -> bool:
        """Whether a run meets every condition."""
        return (
            (not self.states or run.status in self.states)
            and (not self.flow_ids or run.flow_id in self.flow_ids)
            and (self.flow_label is None or _fits(self.flow_label, run.flow_label))
            and (self.flow_name is None or _fits(self.flow_name, run.flow_name))
            and (self.created_after is None or run.created_at >= self.created_after)
            and (self.created_before is None or run.created_at < self.created_before)
            and (self.parent_run_id is None or run.parent_run_id == self.parent_run_id)
            and (self.root_run_id is None or run.root_run_id == self.root_run_id)
            and not (self.roots_only and run.root_run_id is not None)
            and (not self.labels or self.labels.items() <= run.labels.items())
        )


def _fits(pattern: str, text: str | None) -> bool:
    if text is None:
        return False
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
