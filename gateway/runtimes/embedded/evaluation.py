"""Evaluates expressions on the event loop: short ones at once, others in steps."""

from collections.abc import Sequence
from typing import Final

from gateway.concurrency.time_slice import Checkpoints, in_slices
from gateway.core.model import JsonText
from gateway.runtimes.embedded.expressions import Expression, Scope, TooLongAtOnce
from gateway.runtimes.embedded.look_up import PathKeys
from gateway.runtimes.embedded.values import NotLookedUp, Value

SHORT_NODES: Final = 256
"""Expressions of up to so many nodes are evaluated at once."""


async def evaluate(expression: Expression, scope: Scope, pace: Checkpoints) -> JsonText | None:
    """Return the value, or None if steps are missing, which are then noted in the scope.

    Raises ItemFailure if the expression has no value.
    """
    at_once = expression.size <= SHORT_NODES
    while True:
        try:
            value = expression.evaluate(scope) if at_once else await in_slices(expression.steps(scope), pace)
        except TooLongAtOnce:
            at_once = False
            continue
        if value is not None or not scope.lookups:
            return value
        await in_slices(scope.look_up(), pace)


def evaluate_now(expression: Expression, scope: Scope) -> JsonText | None:
    """As `evaluate`, but return None also if that would take more than one step."""
    try:
        return expression.evaluate(scope) if expression.size <= SHORT_NODES else None
    except TooLongAtOnce:
        return None


async def look_up(value: Value, paths: Sequence[PathKeys], pace: Checkpoints) -> None:
    """Look up parts of a value if it is a long one, so that it can be asked for them."""
    try:
        for keys in paths:
            value.find(keys)
    except NotLookedUp:
        await in_slices(value.look_up(paths), pace)
