"""Counts runs and items: how many came, how they ended, and how many are left."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from gateway.core.model import RunState
from gateway.flows.run_record import Outcome
from gateway.telemetry.gateway_metrics import (
    ITEMS_ENDED,
    ITEMS_EXECUTING,
    ITEMS_WAITING,
    RUNS_ENDED,
    RUNS_SUBMITTED,
)
from gateway.telemetry.metrics import Cell

_submitted = RUNS_SUBMITTED.labels()
_success = ITEMS_ENDED.labels(RunState.SUCCESS.value)
_failed = ITEMS_ENDED.labels(RunState.FAILED.value)
_cancelled = ITEMS_ENDED.labels(RunState.CANCELLED.value)
_ended = {state: RUNS_ENDED.labels(state.value) for state in (RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED)}


def run_accepted(at_once: Outcome | None) -> None:
    """A run has been accepted; if it was executed meanwhile, it has ended like this."""
    _submitted.value += 1
    if at_once is not None:
        items_ended(at_once.success, at_once.failed)
        run_ended(at_once)


def run_ended(outcome: Outcome) -> None:
    """A run has ended. Its items that have results were counted before."""
    _ended[outcome.status].value += 1
    _cancelled.value += outcome.cancelled


def items_ended(success: int, failed: int) -> None:
    """Items have results, which are durable."""
    _success.value += success
    _failed.value += failed


class ExecutesItems(Protocol):
    """What executes items."""

    @property
    def items(self) -> int:
        """How many execute now."""


@contextmanager
def items_gauged(left: Cell, executor: ExecutesItems) -> Iterator[None]:
    """Let metrics read how many items have not ended, and how many of them execute, while the block lasts."""
    with (
        ITEMS_EXECUTING.read_from(lambda: executor.items),
        ITEMS_WAITING.read_from(lambda: max(0, left.value - executor.items)),
    ):
        yield
