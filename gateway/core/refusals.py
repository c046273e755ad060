"""Counts the calls that are refused, by reason. Fronts count where an error becomes the answer to a call."""

from typing import Final

from gateway.core.errors import (
    GatewayError,
    GoAway,
    NestedTooDeeply,
    Overloaded,
    ParentCancelled,
    PermissionDenied,
    TooLarge,
    TooManyDescendants,
    Unauthenticated,
    Unavailable,
)
from gateway.telemetry.gateway_metrics import REFUSALS
from gateway.telemetry.metrics import Cell

_REFUSING: Final = (
    Overloaded,
    TooLarge,
    Unavailable,
    Unauthenticated,
    PermissionDenied,
    NestedTooDeeply,
    TooManyDescendants,
    ParentCancelled,
)

_cells: Final[dict[str, Cell]] = {}
"""By reason: a refusal is to take much less than the call that it refuses."""


def count_refusal(error: GatewayError) -> None:
    """Count a call that ends with this error, if it says that the call was refused."""
    if isinstance(error, _REFUSING) and not isinstance(error, GoAway):
        reason = error.reason
        if (cell := _cells.get(reason)) is None:
            cell = _cells[reason] = REFUSALS.labels(reason)
        cell.value += 1
