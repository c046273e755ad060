"""Compiling and evaluating flows, as the targets do it: whatever the steps of that work are, they come to an end."""

from typing import Final, TypeVar

from gateway.core.errors import InvalidFlow
from gateway.core.json_layout import Steps
from gateway.core.model import ItemError, JsonText
from gateway.flows.expressions import Scope
from gateway.flows.flow import Flow, compile_flow
from gateway.flows.task import ItemFailure
from tests.fuzz.invariants import InTree

T = TypeVar("T")

_LEAST_STEPS: Final = 100
_STEPS_PER_CHARACTER: Final = 4
_NO_VARIABLES: Final[dict[str, JsonText]] = {}


def counted(steps: Steps[T], size: int) -> T:
    """The result of work that is done in steps, whose number is bounded by the size of what it works on."""
    number = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        number += 1
        assert number <= _LEAST_STEPS + size * _STEPS_PER_CHARACTER, "work in steps does not end"


def compiled(text: JsonText) -> Flow | InvalidFlow:
    """The flow, or why it is none."""
    try:
        return counted(compile_flow(text), len(text))
    except InvalidFlow as error:
        InTree().check(error)
        return error


def overridden(flow: Flow, overrides: JsonText) -> Flow:
    """The flow with some steps changed. Raises as `Flow.with_overrides` does."""
    return counted(flow.with_overrides(overrides), len(overrides) + sum(map(len, flow.document.values())))


def evaluated(flow: Flow, text: JsonText) -> JsonText | ItemError | None:
    """The output of a flow for an input, or the error of the item; None if steps are needed."""
    scope = Scope(text, _NO_VARIABLES, flow.defaults)
    try:
        while (parts := counted(flow.output.steps(scope), len(text))) is None and scope.lookups:
            counted(scope.look_up(), len(text))
        return None if parts is None else "".join(parts)
    except ItemFailure as failure:
        return failure.error
