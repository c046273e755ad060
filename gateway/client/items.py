"""The items of a run and their steps, as the clients return them. Fields are named as in `status`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from gateway.adapter.items_json import item_pieces
from gateway.client.payload import value_of
from gateway.client.status import ItemError, ItemResult, error_message, item_error, item_result, moment, result_message
from gateway.core import items
from gateway.core.items import StepState
from gateway.core.model import JsonText, Nanoseconds, RunState


@dataclass(frozen=True)
class StepStatus:
    """A step of an item: what executes, or what came of it."""

    step_id: str
    """The id of the step in its flow; in a flow that runs in place, the path to it: `STEP/ITERATION/STEP`."""
    component: str
    """The component that it calls."""
    status: StepState
    attempts: int = 0
    """How often the component was called."""
    started_at_ns: Nanoseconds | None = None
    completed_at_ns: Nanoseconds | None = None
    error: ItemError | None = None
    """Why it failed; while it is to be tried again, why the last attempt failed."""

    @property
    def started_at(self) -> datetime | None:
        """The time at which it began, to the microsecond, in UTC; None before."""
        return moment(self.started_at_ns)

    @property
    def completed_at(self) -> datetime | None:
        """The time at which it ended, to the microsecond, in UTC; None before."""
        return moment(self.completed_at_ns)


@dataclass(frozen=True)
class Item:
    """An item of a run: what it was given, what executes, and what has come of it."""

    item_index: int
    """The position of the item's input, from 0."""
    status: RunState
    input_json: JsonText | None = None
    """The input; None if it was not asked for, or exists no more."""
    result: ItemResult | None = None
    """The result; None while the item has not finished, and if it was cancelled."""
    started_at_ns: Nanoseconds | None = None
    completed_at_ns: Nanoseconds | None = None
    attempts: int = 0
    """How often the item has begun to execute: more than once after restarts. 0 if that is not known."""
    steps: Sequence[StepStatus] = field(default_factory=list)
    """The steps that were needed, in the order in which they came to be."""

    @cached_property
    def input(self) -> Any:
        """The input as a Python value, parsed at the first access; None if there is none, and for a null."""
        return None if self.input_json is None else value_of(self.input_json)

    @property
    def started_at(self) -> datetime | None:
        """The time at which the item began to execute, to the microsecond, in UTC; None before."""
        return moment(self.started_at_ns)

    @property
    def completed_at(self) -> datetime | None:
        """The time at which the item finished, to the microsecond, in UTC; None before."""
        return moment(self.completed_at_ns)

    def to_json(self) -> str:
        """Return the JSON object of `runs/items` as text, with each payload exactly as it was received."""
        return "".join(item_pieces(_message(self)))


def item(message: items.Item) -> Item:
    """Return an item from the canonical message."""
    return Item(
        item_index=message.item_index,
        status=message.status,
        input_json=message.input,
        result=None if message.result is None else item_result(message.result),
        started_at_ns=message.started_at,
        completed_at_ns=message.completed_at,
        attempts=message.attempts,
        steps=[_step(step) for step in message.steps],
    )


def _message(given: Item) -> items.Item:
    return items.Item(
        given.item_index,
        given.status,
        input=given.input_json,
        result=None if given.result is None else result_message(given.result),
        started_at=given.started_at_ns,
        completed_at=given.completed_at_ns,
        attempts=given.attempts,
        steps=tuple(map(_step_message, given.steps)),
    )


def _step_message(given: StepStatus) -> items.StepStatus:
    return items.StepStatus(
        given.step_id,
        given.component,
        given.status,
        given.attempts,
        started_at=given.started_at_ns,
        completed_at=given.completed_at_ns,
        error=None if given.error is None else error_message(given.error),
    )


def _step(message: items.StepStatus) -> StepStatus:
    return StepStatus(
        step_id=message.step_id,
        component=message.component,
        status=message.status,
        attempts=message.attempts,
        started_at_ns=message.started_at,
        completed_at_ns=message.completed_at,
        error=None if message.error is None else item_error(message.error),
    )
