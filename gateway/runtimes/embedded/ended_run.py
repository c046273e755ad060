"""A run that has ended, in memory: nothing about it changes any more."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from gateway.core.model import ItemResult
from gateway.core.runtime import Page, Snapshot, text_sizes
from gateway.flows.run_record import Outcome, RunRecord
from gateway.flows.run_status import ended_status
from gateway.runtimes.embedded.journal import Journal, of_page

RUN_BYTES: Final = 4 << 10
"""What a run takes in memory besides its results."""

RESULT_BYTES: Final = 256
"""What a result takes in memory besides its text."""

RECENT_BYTES: Final = 1 << 18
"""How much memory results of a run may take, so that small runs are read without the journal."""

EPOCH_BITS: Final = 40
"""Revisions count changes in these lower bits, and openings of the state above them, so they grow over restarts."""


class EndedRun(Struct, frozen=True, gc=False):
    """The record of a run, its last snapshot, and its results in the order of completion if all are kept in memory.

    `size` is how much memory it takes, in bytes.
    """

    record: RunRecord
    last: Snapshot
    results: Sequence[ItemResult] | None
    size: int

    def snapshot(self) -> Snapshot:
        """The last state."""
        return self.last

    def recent(self, page: Page) -> list[ItemResult] | None:
        """The results of a page, if all results are kept in memory."""
        return None if self.results is None else of_page(self.results, page)


def ended_at_once(record: RunRecord, outcome: Outcome, journal: Journal, results: Sequence[ItemResult]) -> EndedRun:
    """A run that has ended while it was accepted, with all its results, by index."""
    size = text_sizes(results) + RESULT_BYTES * len(results)
    if size > RECENT_BYTES:
        return loaded(record, outcome, journal, record.total)
    return EndedRun(record, _last(record, outcome, journal, record.total, results), results, RUN_BYTES + size)


def loaded(record: RunRecord, outcome: Outcome, journal: Journal, prefix: int) -> EndedRun:
    """A run that has been read from the journal, which has its results; those of so many leading items are there."""
    return EndedRun(record, _last(record, outcome, journal, prefix, None), None, RUN_BYTES)


def _last(
    record: RunRecord, outcome: Outcome, journal: Journal, prefix: int, results: Sequence[ItemResult] | None
) -> Snapshot:
    # It has the last revision of this epoch, which is larger than any that was seen before.
    revision = ((journal.epoch + 1) << EPOCH_BITS) - 1
    status = ended_status(record, outcome, journal.retention.expires_at(record, outcome))
    return Snapshot(status, revision, outcome.success + outcome.failed, prefix, results)
