"""The tokens of pages: the cursor of a runtime, bound to what the page is a page of.

A token is URL-safe text. Its checksum tells tokens from anything else, and those of one list from those of another. It
guards against mix-ups; a forger harms only himself.
"""

import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from gateway.core.control import ItemsParams, ListParams
from gateway.core.errors import InvalidParams
from gateway.core.items import Item, ItemPage
from gateway.core.model import RunState

_VERSION: Final = b"\1"
_CHECK_LENGTH: Final = 8
_PERSON: Final = b"runs-gw page"


def binding_of_list(params: ListParams, namespace: str | None = None) -> bytes:
    """What the token of a page of runs belongs to: the list, in a namespace or in all."""
    return b"runs" + replace(params.filter, namespace=namespace).digest() + params.order.encode()


def binding_of_items(run_id: str, params: ItemsParams) -> bytes:
    """What the token of a page of items belongs to."""
    return f"items {run_id} {' '.join(params.states)}".encode()


def items_asked(run_id: str, states: Collection[RunState], start: int, limit: int, *, with_inputs: bool) -> ItemsParams:
    """What another gateway is asked for items from the index `start` on: its tokens mean the same as ours.

    States come in the order in which each gateway names them, so that tokens are the same.
    """
    asked = tuple(state for state in RunState if state in states)
    params = ItemsParams(run_id=run_id, states=asked, page_size=limit, include_inputs=with_inputs)
    return replace(params, page_token=page_token(str(start) if start else "", binding_of_items(run_id, params)))


def items_page(items: list[Item], params: ItemsParams, next_page_token: str) -> ItemPage:
    """The page of items that another gateway has answered with. Raises InvalidParams if its token is not understood."""
    rest = cursor_of(next_page_token, binding_of_items(params.run_id, params))
    return ItemPage(items, int(rest) if rest else None)


def page_token(cursor: str, binding: bytes) -> str:
    """The token of the page after a cursor; "" after the last page, whose cursor is empty."""
    if not cursor:
        return ""
    body = _VERSION + cursor.encode()
    return urlsafe_b64encode(_check(body, binding) + body).rstrip(b"=").decode()


def cursor_of(token: str, binding: bytes) -> str:
    """The cursor that a token holds; "" for the first page.

    Raises InvalidParams if the token does not belong to this filter and order, or to this run and these states.
    """
    if not token:
        return ""
    try:
        data = b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
    except ValueError:
        raise _foreign() from None
    check, body = data[:_CHECK_LENGTH], data[_CHECK_LENGTH:]
    if check != _check(body, binding) or not body.startswith(_VERSION):
        raise _foreign()
    try:
        return body.removeprefix(_VERSION).decode()
    except UnicodeDecodeError:
        raise _foreign() from None


def _check(body: bytes, binding: bytes) -> bytes:
    digest = hashlib.blake2b(binding, digest_size=32, person=_PERSON).digest()
    return hashlib.blake2b(body, key=digest, digest_size=_CHECK_LENGTH, person=_PERSON).digest()


def _foreign() -> InvalidParams:
    what = "not the token of a page of this list: the parameters must be those of the page that named it"
    return InvalidParams.field("page_token", description=what)
