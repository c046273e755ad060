"""The items of a run, as those see them who look into it: what executes now, and what became of each step."""

from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct

from gateway.core.model import ItemError, ItemResult, JsonText, Nanoseconds, RunState

MAX_STEPS: Final = 1_000
"""How many steps of an item are told at most: the first ones that it needed."""

STEPS_AT_ONCE: Final = 100
"""How many steps are written at once: it takes about 0.2 ms."""


class StepState(StrEnum):
    """The state of a step of an item."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(Struct, frozen=True, gc=False):
    """A step of an item. `step_id` is its path if it is in a flow that runs in place: `STEP/ITERATION/STEP`.

    `attempts` counts the calls of its component. `error` has no data; while the step is to be tried again, it is that
    of the last attempt.
    """

    step_id: str
    component: str
    status: StepState
    attempts: int = 0
    started_at: Nanoseconds | None = None
    completed_at: Nanoseconds | None = None
    error: ItemError | None = None


class Item(Struct, frozen=True, gc=False):
    """An item. `attempts` counts how often it has begun to execute, over restarts; 0 if that is not known."""

    item_index: int
    status: RunState
    input: JsonText | None = None
    result: ItemResult | None = None
    started_at: Nanoseconds | None = None
    completed_at: Nanoseconds | None = None
    attempts: int = 0
    steps: tuple[StepStatus, ...] = ()


class ItemPage(NamedTuple):
    """Items by index, and the index at which to look for more; None if there are no more."""

    items: list[Item]
    rest: int | None
