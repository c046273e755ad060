"""What the steps of an item have come to: noted while it executes, and kept when it ends or is stopped."""

import time
from typing import Final, NamedTuple

import msgspec

from gateway.core.errors import shortened
from gateway.core.items import MAX_STEPS, StepState, StepStatus
from gateway.core.model import ItemError, Nanoseconds

STEP_BYTES: Final = 320
"""About what a step takes in memory while its item executes."""

MAX_KEPT_BYTES: Final = 64 << 10
"""About how many bytes the steps of an item take in the journal at most: the first ones that fit."""

MAX_MESSAGE: Final = 1_000
"""How much of the message of an error is told with a step, in characters. The result of the item has all of it."""

_STATES: Final = tuple(StepState)
_NUMBERS: Final = {state: number for number, state in enumerate(_STATES)}
_ENDED: Final = frozenset({StepState.SUCCESS, StepState.FAILED, StepState.CANCELLED})
_STEP_OVERHEAD: Final = 24
"""About what a step takes in the journal besides its texts."""


class StepNote:
    """A step of an item, from when it was needed."""

    __slots__ = ("attempts", "completed_at", "component", "error", "started_at", "status", "step_id")

    def __init__(self, step_id: str, component: str) -> None:
        self.step_id = step_id
        self.component = component
        self.status = StepState.PENDING
        self.attempts = 0
        self.started_at: Nanoseconds | None = None
        self.completed_at: Nanoseconds | None = None
        self.error: ItemError | None = None

    def begin(self) -> None:
        """Its component is called."""
        if not self.attempts:
            self.status = StepState.RUNNING
            self.started_at = time.time_ns()
        self.attempts += 1

    def fail(self, error: ItemError, *, last: bool = False) -> None:
        """An attempt has failed. The `last` one fails the step, even if its flow has a value for this case."""
        self.error = ItemError(code=error.code, message=shortened(error.message, MAX_MESSAGE))
        if last:
            self.status = StepState.FAILED

    def end(self, error: ItemError | None) -> None:
        """The step has ended."""
        self.completed_at = max(time.time_ns(), self.started_at or 0)
        if error is not None:
            self.fail(error, last=True)
        elif self.status is not StepState.FAILED:
            self.status = StepState.SUCCESS
            self.error = None

    def cancel(self) -> None:
        """Nobody needs the step any more."""
        self.completed_at = max(time.time_ns(), self.started_at or 0)
        self.status = StepState.CANCELLED


class ItemLog:
    """An item that executes: when it began, how often, as far as that is known, and its steps in the order of need."""

    __slots__ = ("attempts", "started_at", "steps")

    def __init__(self, started_at: Nanoseconds, attempts: int) -> None:
        self.started_at = started_at
        self.attempts = attempts
        self.steps: list[StepNote] = []

    def need(self, step_id: str, component: str) -> StepNote | None:
        """A step is needed. Return its note; None if there are too many."""
        if len(self.steps) >= MAX_STEPS:
            return None
        note = StepNote(step_id, component)
        self.steps.append(note)
        return note

    def statuses(self) -> tuple[StepStatus, ...]:
        """The steps as they are now."""
        return tuple(
            StepStatus(
                step.step_id,
                step.component,
                step.status,
                step.attempts,
                step.started_at,
                step.completed_at,
                step.error,
            )
            for step in self.steps
        )

    def kept(self) -> bytes | None:
        """What is kept of it when the item has ended: None if it had no steps."""
        return self._encoded(self._entries()) if self.steps else None

    def stopped(self, *, with_steps: bool) -> bytes:
        """What is kept of it when it is cancelled: when it began and how often, and its steps if there is room."""
        return self._encoded(self._entries() if with_steps else [])

    def _encoded(self, steps: list[tuple[object, ...]]) -> bytes:
        return _ENCODER.encode((self.started_at, self.attempts, steps))

    def _entries(self) -> list[tuple[object, ...]]:
        """The first steps that fit."""
        steps = []
        size = 0
        for step in self.steps:
            size += _STEP_OVERHEAD + len(step.step_id) + len(step.component)
            size += 0 if step.error is None else len(step.error.message)
            if size > MAX_KEPT_BYTES:
                break
            steps.append(self._entry(step))
        return steps

    def _entry(self, step: StepNote) -> tuple[object, ...]:
        since = self.started_at
        # What has not ended by now is needed no more.
        state = step.status if step.status in _ENDED else StepState.CANCELLED
        started = None if step.started_at is None else step.started_at - since
        completed = None if step.completed_at is None else step.completed_at - since
        entry = (step.step_id, step.component, _NUMBERS[state], step.attempts, started, completed)
        return entry if step.error is None else (*entry, step.error.code, step.error.message)


class _KeptStep(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A step. Times count from the start of its item."""

    step_id: str
    component: str
    state: int
    attempts: int
    started: int | None
    completed: int | None
    code: int | None = None
    message: str = ""

    def status(self, since: Nanoseconds) -> StepStatus:
        """The step as it is told, given when its item began."""
        return StepStatus(
            self.step_id,
            self.component,
            _STATES[self.state],
            self.attempts,
            None if self.started is None else since + self.started,
            None if self.completed is None else since + self.completed,
            None if self.code is None else ItemError(code=self.code, message=self.message),
        )


class KeptLog(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of an item that has ended, or was stopped."""

    started_at: Nanoseconds
    attempts: int
    steps: list[_KeptStep]

    def statuses(self) -> tuple[StepStatus, ...]:
        """The steps."""
        return tuple(step.status(self.started_at) for step in self.steps)


class StoppedItem(NamedTuple):
    """An item that was executing when its run was cancelled, and what is kept of it."""

    item_index: int
    kept: bytes


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(KeptLog)


def read_log(kept: bytes) -> KeptLog:
    """Read what `ItemLog.kept` or `ItemLog.stopped` has written."""
    return _DECODER.decode(kept)
