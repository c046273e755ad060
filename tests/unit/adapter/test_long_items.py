from hypothesis import given, settings

from gateway.adapter.items_proto import item_list_from_proto, item_list_parts
from gateway.adapter.long_items import long_item_page
from gateway.adapter.proto_fields import JSON
from gateway.core.control import ItemList
from gateway.core.items import Item
from gateway.core.long_strings import PART
from gateway.core.model import ItemResult, RunState
from runs.v1 import runs_pb2
from tests.support import control_messages as messages


def written(page: ItemList, limit: int) -> tuple[bytes | None, int]:
    """The page, and how many steps it took."""
    writing, steps = long_item_page(page, limit), 0
    while True:
        try:
            next(writing)
        except StopIteration as end:
            message: bytes | None = end.value
            return message, steps
        steps += 1


@settings(max_examples=30)
@given(messages.items)
def test_it_is_what_protobuf_reads(item: Item) -> None:
    page = ItemList([item], "next")
    data, _ = written(page, 1 << 30)
    assert data is not None
    assert item_list_from_proto(runs_pb2.ListItemsResponse.FromString(data)) == page
    assert len(data) == len(b"".join(item_list_parts(page, JSON)))
    assert written(page, len(data))[0] == data
    assert written(page, len(data) - 1)[0] is None


def test_long_texts_are_written_in_steps() -> None:
    text = f'"{chr(0xE9) * 5 * PART}"'
    page = ItemList([Item(0, RunState.SUCCESS, text, ItemResult(item_index=0, status=RunState.SUCCESS, value=text))])
    data, steps = written(page, 1 << 30)
    assert data is not None
    assert item_list_from_proto(runs_pb2.ListItemsResponse.FromString(data)) == page
    assert steps >= 4 * 5
