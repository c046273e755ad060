"""Blobs and their ids <-> JSON: parameters and results of blobs/put and blobs/get, and the bodies of the blob API.

Stepflow 0.9 spells the members `blob_id` and `blob_type`, later releases `blobId` and `blobType`: readers accept both,
and writers give both. Ids are written as 64 hex digits alone, since the SDKs' references to blobs hold no others.
"""

import binascii
from base64 import b64encode
from collections.abc import Iterator

from gateway.adapter.json_members import Params, params_of
from gateway.core.errors import InvalidParams
from gateway.core.json_text import quote, string
from gateway.core.model import Blob, BlobType, JsonText, blob_digest

BINARY = "binary"
"""The blob type that says that `data` is a string of base64: the form of binary content in JSON."""

_BASE64_STEP = 48 << 10
"""How many bytes become a piece of base64: a multiple of three."""


def blob_from_json(params: Params) -> Blob:
    """Read `{data, blobType}`: what is put, or what a get has returned. Without a type it is data."""
    given = params_of(params)
    data = given.get("data")
    if data is None:
        raise InvalidParams.field("data", description="Field required")
    kind = _either(given, "blobType", "blob_type")
    if kind is None:
        return Blob(data, BlobType.DATA)
    kind = string(kind, "blob_type")
    if kind == BINARY:
        return Blob(_bytes(data), BlobType.DATA)
    try:
        return Blob(data, BlobType(kind))
    except ValueError:
        raise InvalidParams.field("blob_type", description="expected 'flow', 'data' or 'binary'") from None


def blob_to_json(blob: Blob, blob_id: str | None = None) -> JsonText:
    """Write `{data, blobType, blobId}`: what a get returns, or without an id what is put."""
    content = blob.content
    opening, closing = _around_content(blob, blob_id)
    return f"{opening}{content if isinstance(content, str) else b64encode(content).decode()}{closing}"


def blob_to_json_pieces(blob: Blob, blob_id: str | None = None) -> Iterator[JsonText]:
    """Write what `blob_to_json` writes, in pieces: JSON text is one of them, as it is; base64 comes in short ones."""
    opening, closing = _around_content(blob, blob_id)
    yield opening
    if isinstance(blob.content, bytes):
        for start in range(0, len(blob.content), _BASE64_STEP):
            yield b64encode(blob.content[start : start + _BASE64_STEP]).decode()
    else:
        yield blob.content
    yield closing


def blob_json_size(blob: Blob, blob_id: str) -> int | None:
    """How many bytes `blob_to_json` writes; None if only encoding the text tells."""
    if isinstance(blob.content, bytes):
        size = (len(blob.content) + 2) // 3 * 4
    elif blob.content.isascii():
        size = len(blob.content)
    else:
        return None
    return size + sum(map(len, _around_content(blob, blob_id)))


def blob_id_from_json(params: Params) -> str:
    """Read `{blobId}`: which blob to get, or what a put has returned. Whether it is an id is not checked here."""
    given = params_of(params)
    blob_id = _either(given, "blobId", "blob_id")
    if blob_id is None:
        raise InvalidParams.field("blob_id", description="Field required")
    return string(blob_id, "blob_id")


def blob_id_to_json(blob_id: str) -> JsonText:
    """Write `{blobId}`: what a put returns, or which blob to get."""
    return f"{{{_blob_id_members(blob_id)}}}"


def _around_content(blob: Blob, blob_id: str | None) -> tuple[JsonText, JsonText]:
    binary = isinstance(blob.content, bytes)
    kind = BINARY if binary else blob.type.value
    blob_id_members = "" if blob_id is None else f",{_blob_id_members(blob_id)}"
    quotes = '"' if binary else ""
    return f'{{"data":{quotes}', f'{quotes},"blobType":"{kind}","blob_type":"{kind}"{blob_id_members}}}'


def _blob_id_members(blob_id: str) -> str:
    text = quote(blob_digest(blob_id) or blob_id)
    return f'"blobId":{text},"blob_id":{text}'


def _either(given: dict[str, JsonText], *names: str) -> JsonText | None:
    """The first of these members that is there and not null."""
    return next((given[name] for name in names if given.get(name, "null") != "null"), None)


def _bytes(data: JsonText) -> bytes:
    try:
        return binascii.a2b_base64(string(data, "data"), strict_mode=True)
    except (binascii.Error, ValueError):
        raise InvalidParams.field("data", description="expected base64") from None
