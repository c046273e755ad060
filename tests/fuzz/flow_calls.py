"""Compiling and evaluating flows, as the targets do it: whatever the steps of that work are, they come to an end."""

from typing import Final

from gateway.core.errors import InvalidFlow
from gateway.core.json_layout import at_once
from gateway.core.model import ItemError, JsonText
from gateway.runtimes.embedded.expressions import Scope
from gateway.runtimes.embedded.flow import Flow, compile_flow
from gateway.runtimes.embedded.task import ItemFailure
from tests.fuzz.invariants import InTree

_NO_VARIABLES: Final[dict[str, JsonText]] = {}


def compiled(text: JsonText) -> Flow | InvalidFlow:
    """The flow, or why it is none."""
    try:
        return at_once(compile_flow(text))
    except InvalidFlow as error:
        InTree().check(error)
        return error


def overridden(flow: Flow, overrides: JsonText) -> Flow:
    """The flow with some steps changed. Raises as `Flow.with_overrides` does."""
    return at_once(flow.with_overrides(overrides))


def evaluated(flow: Flow, text: JsonText) -> JsonText | ItemError | None:
    """The output of a flow for an input, or the error of the item; None if steps are needed."""
    scope = Scope(text, _NO_VARIABLES, flow.defaults)
    try:
        while (output := at_once(flow.output.steps(scope))) is None and scope.lookups:
            at_once(scope.look_up())
        return output
    except ItemFailure as failure:
        return failure.error
