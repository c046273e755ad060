"""Counts the calls on a runtime elsewhere, and how long they take."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from gateway.core.errors import Unavailable
from gateway.telemetry.gateway_metrics import UPSTREAM_CALLS, UPSTREAM_SECONDS

UpstreamOutcome: TypeAlias = Literal["ok", "error", "unavailable", "cancelled"]
"""How a call ended: `error` is an answer, `unavailable` is none, and `cancelled` is a caller that has left."""


def _is_unavailable(error: BaseException) -> bool:
    return isinstance(error, Unavailable)


class UpstreamCalls:
    """Counts the calls on a runtime of a kind. `is_away` tells which errors say that it did not answer."""

    def __init__(self, runtime: str, is_away: Callable[[BaseException], bool] = _is_unavailable) -> None:
        outcomes: tuple[UpstreamOutcome, ...] = ("ok", "error", "unavailable", "cancelled")
        self.cells: Final = {outcome: UPSTREAM_CALLS.labels(runtime, outcome) for outcome in outcomes}
        self.seconds: Final = UPSTREAM_SECONDS.labels(runtime)
        self.is_away: Final = is_away

    def call(self) -> "UpstreamCall":
        """A context in which one call is made."""
        return UpstreamCall(self)


class UpstreamCall:
    """One call. `failed` says that its answer is an error, if none is raised."""

    __slots__ = ("_began", "_calls", "failed")

    def __init__(self, calls: UpstreamCalls) -> None:
        self._calls = calls
        self._began = 0.0
        self.failed = False

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        calls, outcome = self._calls, self._outcome(error)
        calls.cells[outcome].value += 1
        calls.seconds.observe(time.monotonic() - self._began)

    def _outcome(self, error: BaseException | None) -> UpstreamOutcome:
        if error is None:
            return "error" if self.failed else "ok"
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            return "cancelled"
        return "unavailable" if self._calls.is_away(error) else "error"
