"""When a step that has failed is tried again: after a failure of the way to its component, and as its flow says."""

from typing import Final

from gateway.components import TRANSPORT_CODES
from gateway.core.backoff import Backoff
from gateway.core.model import ItemError
from gateway.runtimes.embedded.builtins import BUILTINS
from gateway.runtimes.embedded.flow import Step

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
    A built-in component has no way to it: an error with such a code is that of a step inside it, which was retried.
    """

    __slots__ = ("_backoff", "_flow_retries", "_transport", "_transport_backoff", "attempt")

    def __init__(self, step: Step, transport: int) -> None:
        self.attempt = 1
        self._flow_retries = step.on_error.retries
        self._transport = 0 if step.component in BUILTINS else transport
        self._backoff: Backoff | None = None
        self._transport_backoff: Backoff | None = None

    def pause_after(self, error: ItemError) -> float | None:
        """Return how many seconds to wait before the next attempt; None if there is no further one."""
        if self._transport and error.code in TRANSPORT_CODES:
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
