"""What an object storage tells of its objects: how they are kept, and with which key they are encrypted."""

from typing import Final

import msgspec

from gateway.storage.object_backend import ObjectsError
from gateway.storage.payload_keys import PayloadKeys

LAYOUT: Final = "layout"
"""The key of the object that tells it."""

_NOW: Final = 1


class ObjectLayout(msgspec.Struct, omit_defaults=True):
    """How objects are kept. Later releases may keep them in another way, and then say so here.

    `key_id` is the name of the key that the gateway encrypts with that was started last.
    """

    layout: int
    key_id: str | None = None


def layout_of(keys: PayloadKeys | None) -> bytes:
    """What a gateway with these keys writes."""
    return msgspec.json.encode(ObjectLayout(_NOW, None if keys is None else keys.first_id)) + b"\n"


def check_layout(data: bytes, keys: PayloadKeys | None) -> None:
    """Raise ObjectsError if a gateway with these keys cannot read what others have written."""
    try:
        layout = msgspec.json.decode(data, type=ObjectLayout)
    except msgspec.DecodeError:
        layout = ObjectLayout(0)
    if layout.layout != _NOW:
        raise ObjectsError("another release keeps its objects there, in another way")
    if layout.key_id is None:
        return
    if keys is None:
        raise ObjectsError("its objects are encrypted, and this gateway has no key (--payload-key)")
    if not keys.has(layout.key_id):
        raise ObjectsError(
            f"its objects are encrypted with the key {layout.key_id:.16}, which this gateway does not have "
            "(--payload-key)"
        )
