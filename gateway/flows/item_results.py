"""The results of items."""

from gateway.core.model import ItemError, ItemResult, JsonText, Nanoseconds, RunState


def succeeded(index: int, value: JsonText, at: Nanoseconds) -> ItemResult:
    """The result of an item with this output."""
    return ItemResult(item_index=index, status=RunState.SUCCESS, value=value, completed_at=at)


def failed(index: int, error: ItemError, at: Nanoseconds) -> ItemResult:
    """The result of an item with this error."""
    return ItemResult(item_index=index, status=RunState.FAILED, error=error, completed_at=at)
