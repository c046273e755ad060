"""Counts the executions of components below a prefix, and how long they take."""

import asyncio
import time
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from gateway.components.error import Code, ComponentError
from gateway.telemetry.gateway_metrics import COMPONENT_EXECUTIONS, COMPONENT_SECONDS

ExecutionOutcome: TypeAlias = Literal["ok", "error", "timeout", "unavailable", "cancelled"]
"""How an execution ended: `error` is the answer of the server, and `unavailable` says that the way to it failed."""


class Executions:
    """Counts those of one prefix."""

    def __init__(self, prefix: str) -> None:
        outcomes: tuple[ExecutionOutcome, ...] = ("ok", "error", "timeout", "unavailable", "cancelled")
        self.cells: Final = {outcome: COMPONENT_EXECUTIONS.labels(prefix, outcome) for outcome in outcomes}
        self.seconds: Final = COMPONENT_SECONDS.labels(prefix)

    def counted(self) -> "CountedExecution":
        """A context in which a component is executed."""
        return CountedExecution(self)


class CountedExecution:
    """See `Executions.counted`."""

    __slots__ = ("_began", "_executions")

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._began = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        executions = self._executions
        executions.cells[_outcome(error)].value += 1
        executions.seconds.observe(time.monotonic() - self._began)


def _outcome(error: BaseException | None) -> ExecutionOutcome:
    if error is None:
        return "ok"
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    if not isinstance(error, ComponentError) or not error.failed_transport:
        return "error"
    return "timeout" if error.code == Code.TIMED_OUT else "unavailable"
