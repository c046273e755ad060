"""When a step that has failed is tried again: after a failure of the way to its component, and as its flow says."""

from typing import Final

from gateway.core.backoff import Backoff
from gateway.flows.flow import Step
from gateway.flows.task import ItemFailure

NOT_AVAILABLE: Final = -32301
"""The code of a step that starts a run whose components are not available."""

FIRST_TRANSPORT_PAUSE: Final = 1.0
LAST_TRANSPORT_PAUSE: Final = 10.0
"""Seconds before the first of these attempts, and before any later one at most. Half of each is drawn at random."""

MAX_RETRIES = 1000
"""How often a step is retried at most, whatever its flow says: with the pauses in between, for about eight hours."""

FIRST_PAUSE = 0.05
LAST_PAUSE = 30.0
"""The seconds before the first retry that a flow asks for, and before any later one at most."""


class StepRetries:
    """The attempts of one step. `attempt` is the number of the present one, counted from 1 over both kinds.

    A failure of the way to the component uses up `transport`, and then what `onError` gives. Others use up only that.
    The error of a step inside a built-in component is not such a failure of this one: that step was retried.
    """

    __slots__ = ("_backoff", "_flow_retries", "_transport", "_transport_backoff", "attempt")

    def __init__(self, step: Step, transport: int) -> None:
        self.attempt = 1
        self._flow_retries = step.on_error.retries
        self._transport = transport
        self._backoff: Backoff | None = None
        self._transport_backoff: Backoff | None = None

    def pause_after(self, failure: ItemFailure) -> float | None:
        """Return how many seconds to wait before the next attempt; None if there is no further one."""
        if self._transport and failure.transport:
            self._transport -= 1
            self._transport_backoff = self._transport_backoff or transport_backoff()
            return self._transport_backoff.next()
        if not self._flow_retries:
            return None
        self._flow_retries -= 1
        self._backoff = self._backoff or Backoff(FIRST_PAUSE, LAST_PAUSE, jitter=0.5)
        return self._backoff.next()


def transport_backoff() -> Backoff:
    """The pauses between attempts to reach a server."""
    return Backoff(FIRST_TRANSPORT_PAUSE, LAST_TRANSPORT_PAUSE, jitter=0.5)
