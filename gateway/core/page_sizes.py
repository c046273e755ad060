"""How large runs and items are in an answer: what bounds a page of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from gateway.core.items import Item, StepStatus
from gateway.core.model import ItemError, RunStatus

_RUN_BYTES: Final = 400
_ITEM_BYTES: Final = 120
_STEP_BYTES: Final = 100
"""About how large a run, an item and a step are without their texts, in bytes."""

_SLICE_BYTES: Final = 32 << 10
_SLICE_LENGTH: Final = 32

_T = TypeVar("_T")


def text_bytes(text: str | None) -> int:
    """About how many bytes a text takes in UTF-8, but no fewer. To ask does not take longer for a long text."""
    if not text:
        return 0
    return len(text) if text.isascii() else 4 * len(text)


def run_bytes(run: RunStatus) -> int:
    """About how large a run without results is in an answer."""
    size = _RUN_BYTES + text_bytes(run.flow_name) + text_bytes(run.flow_label) + text_bytes(run.cancel_reason)
    if run.labels:
        size += sum(text_bytes(name) + text_bytes(value) for name, value in run.labels.items())
    if run.extensions:
        size += sum(text_bytes(name) + text_bytes(text) for name, text in run.extensions.items())
    return size


def item_bytes(item: Item) -> int:
    """About how large an item is in an answer."""
    size = _ITEM_BYTES + text_bytes(item.input)
    if item.steps:
        size += sum(map(_step_bytes, item.steps))
    if item.result is not None:
        size += text_bytes(item.result.value) + _error_bytes(item.result.error)
    return size


def slices(entries: Sequence[_T], size: Callable[[_T], int]) -> Iterator[Sequence[_T]]:
    """Divide entries into slices that take little time to write; a large entry is a slice of its own."""
    start = held = 0
    for index, entry in enumerate(entries):
        added = size(entry)
        if index > start and (held + added > _SLICE_BYTES or index - start == _SLICE_LENGTH):
            yield entries[start:index]
            start, held = index, 0
        held += added
    if entries:
        yield entries[start:]


def _step_bytes(step: StepStatus) -> int:
    return _STEP_BYTES + text_bytes(step.step_id) + text_bytes(step.component) + _error_bytes(step.error)


def _error_bytes(error: ItemError | None) -> int:
    return 0 if error is None else text_bytes(error.message) + text_bytes(error.data)
