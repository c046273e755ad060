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
    try:
        return evaluate_now(expression, scope)
    except TooLongAtOnce:
        pass
    while True:
        await in_slices(scope.look_up(), pace)
        scope.missing = {}
        value = await in_slices(expression.steps(scope), pace)
        if value is not None or not scope.lookups:
            return value


def evaluate_now(expression: Expression, scope: Scope) -> JsonText | None:
    """As `evaluate`, but raise TooLongAtOnce if that would take more than one step of work."""
    if expression.size > SHORT_NODES:
        raise TooLongAtOnce
    value = expression.evaluate(scope)
    if value is None and scope.lookups:
        raise TooLongAtOnce
    return value


async def look_up(value: Value, paths: Sequence[PathKeys], pace: Checkpoints) -> None:
    """Look up parts of a value if it is a long one, so that it can be asked for them."""
    try:
        for keys in paths:
            value.find(keys)
    except NotLookedUp:
        await in_slices(value.look_up(paths), pace)
