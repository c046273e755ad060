"""A page with one long item, written in steps: protobuf would copy its texts three times, as a whole."""

from collections.abc import Generator
from io import BytesIO

from msgspec.structs import replace

from gateway.adapter.items_proto import set_item
from gateway.adapter.proto_fields import JSON
from gateway.adapter.proto_wire import length_prefix
from gateway.adapter.status_proto import set_result
from gateway.core.control import ItemList
from gateway.core.items import Item
from gateway.core.long_strings import utf8_parts
from gateway.core.model import JsonText
from runs.v1 import runs_pb2


def long_item_page(page: ItemList, limit: int) -> Generator[None, None, bytes | None]:
    """Serialize a page with a single item, whose texts come as JSON. None if it exceeds `limit` bytes.

    Yields after each step.
    """
    item = page.items[0]
    texts = item.input or "", (item.result and item.result.value) or ""
    sizes = [0, 0]
    for index, text in enumerate(texts):
        for part in utf8_parts(text):
            sizes[index] += len(part)
            yield
    heads = _heads(item, *sizes)
    end = runs_pb2.ListItemsResponse(next_page_token=page.next_page_token).SerializeToString()
    size = sum(map(len, heads)) + sum(sizes) + len(end)
    if size > limit:
        return None
    # Bytes of the right size, which it fills and returns: it copies nothing while it grows, and at the end.
    written = BytesIO(bytes(size))
    for head, text in zip(heads, texts, strict=True):
        written.write(head)
        yield from _write(written, text)
    written.write(end)
    return written.getvalue()


def _write(written: BytesIO, text: JsonText) -> Generator[None, None, None]:
    for part in utf8_parts(text):
        written.write(part)
        yield


def _heads(item: Item, input_size: int, value_size: int) -> tuple[bytes, bytes]:
    """What stands before the text of the input, and between it and that of the value, which ends the item."""
    message = runs_pb2.Item()
    value = None if item.result is None else item.result.value
    set_item(message, replace(item, input=None, result=None), JSON)
    before_input = before_value = b""
    if item.input is not None:
        before_input = _json_field(runs_pb2.Item.INPUT_FIELD_NUMBER, input_size)
    if item.result is not None:
        rest = runs_pb2.ItemResult()
        set_result(rest, replace(item.result, value=None), JSON)
        inside = rest.SerializeToString()
        if value is not None:
            inside += _json_field(runs_pb2.ItemResult.VALUE_FIELD_NUMBER, value_size)
        before_value = length_prefix(runs_pb2.Item.RESULT_FIELD_NUMBER, len(inside) + value_size) + inside
    fields = message.SerializeToString()
    size = len(fields) + len(before_input) + input_size + len(before_value) + value_size
    start = length_prefix(runs_pb2.ListItemsResponse.ITEMS_FIELD_NUMBER, size)
    return start + fields + before_input, before_value


def _json_field(number: int, size: int) -> bytes:
    """What stands before a text of this size in a field that is a JsonValue."""
    json = length_prefix(runs_pb2.JsonValue.JSON_FIELD_NUMBER, size)
    return length_prefix(number, len(json) + size) + json
