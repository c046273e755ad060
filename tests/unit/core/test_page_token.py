import hashlib
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.control import ItemsParams, ListParams
from gateway.core.errors import InvalidParams
from gateway.core.model import RunState
from gateway.core.page_token import binding_of_items, binding_of_list, cursor_of, page_token
from gateway.core.run_filter import RunFilter, RunOrder

RUN_ID = "00000000-0000-4000-8000-000000000000"
BINDING = binding_of_list(ListParams())
LISTS = [
    ListParams(),
    ListParams(order=RunOrder.OLDEST_FIRST),
    ListParams(filter=RunFilter(states=(RunState.RUNNING,))),
    ListParams(filter=RunFilter(labels={"a": "b"})),
    ListParams(filter=RunFilter(flow_label="b*")),
]
ITEMS = [ItemsParams(run_id=RUN_ID), ItemsParams(run_id=RUN_ID, states=(RunState.FAILED,))]
BINDINGS = [
    *map(binding_of_list, LISTS),
    *(binding_of_items(RUN_ID, params) for params in ITEMS),
    binding_of_items(RUN_ID.replace("0", "1"), ITEMS[0]),
]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_token_holds_a_cursor_as_text_for_urls(cursor: str) -> None:
    token = page_token(cursor, BINDING)
    assert cursor_of(token, BINDING) == cursor
    assert all(character.isalnum() or character in "-_" for character in token)


def test_before_the_first_page_and_after_the_last_one_there_is_no_token() -> None:
    assert page_token("", BINDING) == ""
    assert cursor_of("", BINDING) == ""


@pytest.mark.parametrize("index", range(len(BINDINGS)))
def test_a_token_belongs_to_what_it_was_made_for(index: int) -> None:
    token = page_token("cursor", BINDINGS[index])
    assert cursor_of(token, BINDINGS[index]) == "cursor"
    for other, binding in enumerate(BINDINGS):
        if other != index:
            refused(token, binding)


@given(st.text() | st.binary().map(lambda data: data.hex()) | st.just("A" * 300_000))
def test_anything_else_is_refused(token: str) -> None:
    if token:
        refused(token)


@given(st.data())
def test_a_token_that_was_cut_or_changed_is_refused(data: Any) -> None:
    token = page_token("0190-cursor-of-the-runtime", BINDING)
    place = data.draw(st.integers(0, len(token) - 1))
    cut = token[:place]
    if cut:
        refused(cut)
    if place:
        refused(token[place:])
    # The last character holds bits that are no part of the data.
    if place < len(token) - 1:
        refused(f"{token[:place]}{'A' if token[place] != 'A' else 'B'}{token[place + 1 :]}")


def test_a_forged_token_is_refused_as_any_other() -> None:
    """The checksum is that of a mistake, and not of an enemy."""
    body = b"\1\xff\xfe"
    digest = hashlib.blake2b(BINDING, digest_size=32, person=b"runs-gw page").digest()
    check = hashlib.blake2b(body, key=digest, digest_size=8, person=b"runs-gw page").digest()
    refused(urlsafe_b64encode(check + body).decode())


def refused(token: str, binding: bytes = BINDING) -> None:
    with pytest.raises(InvalidParams) as caught:
        cursor_of(token, binding)
    assert caught.value.violations[0].path == ("page_token",)
