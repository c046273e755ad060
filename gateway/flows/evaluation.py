"""Evaluates expressions on the event loop: short ones at once, others in steps."""

from collections.abc import Sequence
from typing import Final

from gateway.concurrency.time_slice import Checkpoints, in_slices
from gateway.core.json_text import MAX_JSON_BYTES
from gateway.core.long_strings import joined
from gateway.core.model import JsonText
from gateway.flows.expressions import MAX_AT_ONCE, Expression, Scope, TooLongAtOnce, too_long
from gateway.flows.item_work import ItemWork
from gateway.flows.look_up import PathKeys
from gateway.flows.values import NotLookedUp, Value

SHORT_NODES: Final = 256
"""Expressions of up to so many nodes are evaluated at once."""


async def evaluate(expression: Expression, scope: Scope, work: ItemWork) -> JsonText | None:
    """Return the value, or None if steps are missing, which are then noted in the scope.

    Raises ItemFailure if the expression has no value.
    """
    try:
        return evaluate_now(expression, scope)
    except TooLongAtOnce:
        pass
    while True:
        await in_slices(scope.look_up(), work)
        scope.missing = {}
        parts = await in_slices(expression.steps(scope), work)
        if parts is not None:
            return await _put_together(parts, scope, work)
        if not scope.lookups:
            return None


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


async def _put_together(parts: list[JsonText], scope: Scope, work: ItemWork) -> JsonText:
    """A value of its parts. Meanwhile `work` holds it, which the caller counts anew at once.

    Raises ItemFailure if it is too long.
    """
    size = MAX_JSON_BYTES - scope.room
    if size > MAX_AT_ONCE:
        await work.wait_for_room()
    work.hold(size)
    try:
        text = await in_slices(joined(parts), work)
        if len(text) > MAX_JSON_BYTES:
            raise too_long()
    finally:
        work.hand_over(size)
    return text
