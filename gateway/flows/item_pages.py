"""Pages of items: what those are told who look into a run, how long that is, and with which inputs."""

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from gateway.core.items import Item, ItemPage
from gateway.core.model import ItemResult, JsonText
from gateway.core.runtime import RESULT_PAGE_BYTES, text_size
from gateway.flows.item_log import read_log

STEP_TEXT: Final = 100
"""About how much text a step is."""


def finished_item(result: ItemResult, kept: bytes | None) -> Item:
    """An item with a result; `kept` is what `ItemLog.kept` has written of it."""
    log = None if kept is None else read_log(kept)
    return Item(
        result.item_index,
        result.status,
        result=result,
        started_at=None if log is None else log.started_at,
        completed_at=result.completed_at,
        attempts=0 if log is None else log.attempts,
        steps=() if log is None else log.statuses(),
    )


def item_size(item: Item) -> int:
    """About how much text an item is, in characters."""
    size = 0 if item.result is None else text_size(item.result)
    for step in item.steps:
        size += STEP_TEXT + len(step.step_id) + (len(step.error.message) if step.error else 0)
    return size + len(item.input or "")


async def page_with_inputs(
    items: list[Item], rest: int | None, inputs_from: Callable[[int], Awaitable[list[JsonText]]]
) -> ItemPage:
    """The items with their inputs, as many as fit a page; without, if there are none any more.

    `inputs_from` reads the inputs from an index on, at least one.
    """
    texts: list[JsonText] = []
    first = size = 0
    found: list[Item] = []
    for item in items:
        if not first <= item.item_index < first + len(texts):
            first, texts = item.item_index, await inputs_from(item.item_index)
            if not texts:
                return ItemPage(items, rest)
        added = replace(item, input=texts[item.item_index - first])
        size += item_size(added)
        if found and size > RESULT_PAGE_BYTES:
            return ItemPage(found, item.item_index)
        found.append(added)
    return ItemPage(found, rest)
