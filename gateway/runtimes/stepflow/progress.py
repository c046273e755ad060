"""The progress of a run: the step events of an engine are folded into item statistics and a revision.

An engine records the results of all items when the last one has ended, and until then counts every item as running. Its
events show which steps an item needs, and which of them have started and ended. So an item is pending until one of its
steps has started. When all steps that it is known to need have ended, it counts as success, or as failed if one of them
failed. That is an estimate: an output may not need a step that failed, and a condition may need another step. The
statistics of a run that is over are the engine's own.

Revisions depend on the engine's state only. So all gateways over an engine agree on them, also after restarts:

- The revision of a run that goes on is the journal position of the event that last changed its statistics, plus 1. It
  is 0 before the first such event, and where there are no events.
- The revision of a run that is over is TERMINAL plus the number of its results.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from gateway.core.model import ItemStatistics, RunStatus
from gateway.core.runtime import Snapshot

TERMINAL: Final = 1 << 62
"""A number above every revision of a run that goes on."""

MAX_ITEMS: Final = 1 << 20
"""The steps of runs with more items are not followed. Each item takes about 30 bytes, and more if it has many steps."""

_PENDING, _RUNNING, _SUCCESS, _FAILED = range(4)
_STEP_FAILED: Final = 3
"""The status of a step that failed, a number of the engine's ExecutionStatus."""


class MalformedEvent(Exception):
    """The data of an event does not have the form of one."""


class _StepsNeeded(msgspec.Struct, rename="camel"):
    run_id: str
    item_index: int = 0
    step_ids: list[str] = []


class _StepEvent(msgspec.Struct, rename="camel"):
    run_id: str
    item_index: int = 0
    step_id: str | None = None
    status: int = 0


class _RunCompleted(msgspec.Struct, rename="camel"):
    run_id: str


class _Kinds(msgspec.Struct, rename="pascal"):
    """The kinds of events that are read. All are None if an event is of another kind."""

    steps_needed: _StepsNeeded | None = None
    step_started: _StepEvent | None = None
    step_completed: _StepEvent | None = None
    run_completed: _RunCompleted | None = None


class _JournalEntry(msgspec.Struct, rename="camel"):
    event: _Kinds
    sequence_number: int = 0


_DECODER: Final = msgspec.json.Decoder(_JournalEntry)


class Progress:
    """The state of each item of a run according to its events.

    Events may come twice, as they do when a stream is resumed: folding one again changes nothing.
    """

    def __init__(self, run_id: str, total: int) -> None:
        self.run_id = run_id
        self.revision = 0
        """The revision of the statistics."""
        self.position = 0
        """The journal position of the latest event, from which a stream resumes."""
        self.ended = False
        """Whether the run has ended according to its events, which do not tell how."""
        followed = total if total <= MAX_ITEMS else 0
        self._steps: dict[str, int] = {}
        # Sets of steps as bits, for each item: the steps that it needs, that have ended, and that have failed.
        self._needed = [0] * followed
        self._ended = [0] * followed
        self._failed = [0] * followed
        self._states = bytearray(followed)
        self._counts = [followed, 0, 0, 0]

    def fold(self, data: bytes) -> None:
        """Process the data of one event; other kinds of events are ignored. Raises MalformedEvent if it is not one."""
        try:
            entry = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedEvent(str(error)) from None
        kinds = entry.event
        if needed := kinds.steps_needed:
            if self._is_ours(needed):
                for step in needed.step_ids:
                    self._needed[needed.item_index] |= self._bit(step)
                self._update(needed.item_index, entry.sequence_number, started=False)
        elif started := kinds.step_started:
            if self._is_ours(started):
                self._update(started.item_index, entry.sequence_number, started=True)
        elif completed := kinds.step_completed:
            if self._is_ours(completed):
                self._complete(completed)
                self._update(completed.item_index, entry.sequence_number, started=True)
        elif (over := kinds.run_completed) and over.run_id == self.run_id:
            self.ended = True
        self.position = max(self.position, entry.sequence_number)

    def statistics(self) -> ItemStatistics:
        """Return how many items are in which state."""
        pending, running, success, failed = self._counts
        return ItemStatistics(total=len(self._states), pending=pending, running=running, success=success, failed=failed)

    def _is_ours(self, event: _StepsNeeded | _StepEvent) -> bool:
        return event.run_id == self.run_id and 0 <= event.item_index < len(self._states)

    def _complete(self, step: _StepEvent) -> None:
        # An engine that has lost the flow names no steps, neither here nor in StepsNeeded.
        bit = self._bit(step.step_id) if step.step_id is not None else 0
        self._ended[step.item_index] |= bit
        if step.status == _STEP_FAILED:
            self._failed[step.item_index] |= bit

    def _bit(self, step: str) -> int:
        return self._steps.setdefault(step, 1 << len(self._steps))

    def _update(self, item: int, position: int, *, started: bool) -> None:
        before = self._states[item]
        needed = self._needed[item]
        if needed and not needed & ~self._ended[item]:
            state = _FAILED if self._failed[item] else _SUCCESS
        else:
            state = _RUNNING if started or before != _PENDING else _PENDING
        if state != before:
            self._states[item] = state
            self._counts[before] -= 1
            self._counts[state] += 1
            self.revision = max(self.revision, position + 1)


def snapshot(status: RunStatus, progress: Progress | None = None) -> Snapshot:
    """Return the snapshot for an engine's state of a run, and for its progress if the run is not over.

    A run has results when it is over, not before.
    """
    items = status.items
    if status.status.terminal:
        completions = items.success + items.failed + items.cancelled
        prefix = items.total if completions == items.total else 0
        return Snapshot(status, TERMINAL + completions, completions, prefix)
    if progress is None or not progress.revision:
        return Snapshot(status, 0, 0, 0)
    status = replace(status, items=progress.statistics())
    return Snapshot(status, progress.revision, 0, 0)
