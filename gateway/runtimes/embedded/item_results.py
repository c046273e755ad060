"""The results of items."""

from collections.abc import Mapping

from gateway.core.clock import now
from gateway.core.model import ItemError, ItemResult, JsonText, RunState
from gateway.runtimes.embedded.execution import evaluate_inline
from gateway.runtimes.embedded.flow import Flow
from gateway.runtimes.embedded.task import ItemFailure


def evaluated(flow: Flow, text: JsonText, variables: Mapping[str, JsonText], index: int) -> ItemResult | None:
    """The result of an item that needs no steps, and takes one step of work; None if it needs more."""
    try:
        value = evaluate_inline(flow, text, variables)
    except ItemFailure as failure:
        return failed(index, failure.error)
    return None if value is None else succeeded(index, value)


def succeeded(index: int, value: JsonText) -> ItemResult:
    """The result of an item with this output."""
    return ItemResult(item_index=index, status=RunState.SUCCESS, value=value, completed_at=now())


def failed(index: int, error: ItemError) -> ItemResult:
    """The result of an item with this error."""
    return ItemResult(item_index=index, status=RunState.FAILED, error=error, completed_at=now())
