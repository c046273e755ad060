from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapter.items_proto import set_item
from gateway.adapter.proto_fields import JSON
from gateway.adapter.status_proto import run_status_to_proto
from gateway.core.items import Item
from gateway.core.model import RunStatus
from gateway.core.page_sizes import item_bytes, run_bytes, slices, text_bytes
from runs.v1 import runs_pb2
from tests.support import control_messages as messages
from tests.support.messages import run_statuses


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_takes_no_more_than_is_said(text: str) -> None:
    assert len(text.encode()) <= text_bytes(text) <= 4 * len(text)


def test_a_text_that_is_not_there_takes_nothing() -> None:
    assert text_bytes(None) == text_bytes("") == 0


@settings(max_examples=10)
@given(run_statuses().filter(lambda run: run.results is None))
def test_a_run_takes_about_as_much_as_is_said(run: RunStatus) -> None:
    extensions = sum(len(text.encode()) for text in run.items.extensions.values())
    assert run_status_to_proto(run).ByteSize() <= run_bytes(run) + 2 * extensions + 400


@settings(max_examples=10)
@given(messages.items.filter(lambda item: item.result is None or not item.result.extensions))
def test_an_item_takes_about_as_much_as_is_said(item: Item) -> None:
    message = runs_pb2.Item()
    set_item(message, item, JSON)
    errors = [step.error for step in item.steps] + [item.result.error if item.result else None]
    unknown = sum(len(text.encode()) + 100 for error in errors if error for text in error.extensions.values())
    assert message.ByteSize() <= 2 * item_bytes(item) + 4 * unknown


@given(st.lists(st.sampled_from([0, 1, 100, 20_000, 40_000, 1_000_000]), max_size=100))
def test_slices_are_short_and_leave_nothing_out(sizes: list[int]) -> None:
    parts = [list(part) for part in slices(sizes, lambda size: size)]
    assert [size for part in parts for size in part] == sizes
    assert all(len(part) == 1 or (sum(part) <= 32 << 10 and len(part) <= 32) for part in parts)
    assert all(parts)
