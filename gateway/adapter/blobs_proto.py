"""Blobs <-> protobuf messages."""

import io
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.adapter.proto_fields import ANY_SIZE, unknown_number
from gateway.adapter.proto_wire import length_prefix
from gateway.core.errors import InvalidParams, TooLarge
from gateway.core.json_text import MAX_JSON_BYTES, json_text
from gateway.core.model import Blob, BlobType
from runs.v1 import blobs_pb2

_SLICE: Final = 64 << 10
"""How many characters or bytes are written at once."""

_BLOB_TYPES = {
    blobs_pb2.BLOB_TYPE_UNSPECIFIED: BlobType.DATA,
    blobs_pb2.BLOB_TYPE_FLOW: BlobType.FLOW,
    blobs_pb2.BLOB_TYPE_DATA: BlobType.DATA,
}
_BLOB_TYPE_NUMBERS = {kind: number for number, kind in _BLOB_TYPES.items()}


def blob_from_put_request(message: blobs_pb2.PutBlobRequest) -> Blob:
    """Read the blob to store. Raises TooLarge if binary content exceeds the limit of JSON content."""
    kind = put_request_kind(message)
    blob = _blob(message, kind)
    if isinstance(blob.content, bytes):
        refuse_binary(len(blob.content), kind)
    return blob


def put_request_kind(message: blobs_pb2.PutBlobRequest) -> BlobType:
    """The type of the blob to store."""
    kind = _BLOB_TYPES.get(message.type)
    if kind is None:
        raise unknown_number("type")
    return kind


def refuse_binary(size: int, kind: BlobType) -> None:
    """Raise InvalidParams or TooLarge if so many bytes cannot be the content of a blob of this type."""
    if kind is BlobType.FLOW:
        raise InvalidParams.field("binary", description="a flow is JSON: set json")
    if size > MAX_JSON_BYTES:
        raise TooLarge(f"binary: more than {MAX_JSON_BYTES // 2**20} MiB")


def blob_to_put_request(blob: Blob) -> blobs_pb2.PutBlobRequest:
    """Write a blob to store."""
    kind = _BLOB_TYPE_NUMBERS[blob.type]
    if isinstance(blob.content, bytes):
        return blobs_pb2.PutBlobRequest(binary=blob.content, type=kind)
    return blobs_pb2.PutBlobRequest(json=blob.content, type=kind)


def blob_to_get_request(blob_id: str) -> blobs_pb2.GetBlobRequest:
    """Write the request for a blob, for a client that receives messages of any size."""
    return blobs_pb2.GetBlobRequest(blob_id=blob_id, max_response_message_bytes=ANY_SIZE)


def blob_from_get_response(message: blobs_pb2.GetBlobResponse) -> Blob:
    """Read a stored blob."""
    kind = _BLOB_TYPES.get(message.type)
    if kind is None:
        raise unknown_number("type")
    return _blob(message, kind)


def blob_to_get_response(blob: Blob) -> blobs_pb2.GetBlobResponse:
    """Write a stored blob."""
    kind = _BLOB_TYPE_NUMBERS[blob.type]
    if isinstance(blob.content, bytes):
        return blobs_pb2.GetBlobResponse(binary=blob.content, type=kind)
    return blobs_pb2.GetBlobResponse(json=blob.content, type=kind)


async def long_get_response(
    blob: Blob, refuse_larger: Callable[[int], None], checkpoint: Callable[[], Awaitable[None]]
) -> bytes:
    """Write a stored blob as a serialized message, in slices. `checkpoint` is passed after each.

    Protobuf would do it as a whole, and hold the content twice meanwhile. `refuse_larger` is told the size of the
    message before it is made, in bytes, and may raise.
    """
    content = blob.content
    size = len(content)
    if isinstance(content, str) and not content.isascii():
        size = 0
        for start in range(0, len(content), _SLICE):
            size += len(content[start : start + _SLICE].encode())
            await checkpoint()
    head = _before_content(blob, size)
    refuse_larger(len(head) + size)
    # Bytes of the right size, which it then fills and returns: it copies nothing while it grows, and at the end.
    message = io.BytesIO(bytes(len(head) + size))
    message.write(head)
    for start in range(0, len(content), _SLICE):
        part = content[start : start + _SLICE]
        message.write(part.encode() if isinstance(part, str) else part)
        await checkpoint()
    return message.getvalue()


def _before_content(blob: Blob, size: int) -> bytes:
    """The other field of the message, and the number and the size of the field with the content."""
    fields = blobs_pb2.GetBlobResponse.DESCRIPTOR.fields_by_name
    number = fields["binary" if isinstance(blob.content, bytes) else "json"].number
    other = blobs_pb2.GetBlobResponse(type=_BLOB_TYPE_NUMBERS[blob.type]).SerializeToString()
    return other + length_prefix(number, size)


def _blob(message: blobs_pb2.PutBlobRequest | blobs_pb2.GetBlobResponse, kind: BlobType) -> Blob:
    content = message.WhichOneof("content")
    if content == "json":
        return Blob(json_text(message.json, "json"), kind)
    if content is None:
        raise InvalidParams.field("content", description="set json or binary")
    if len(message.binary) > MAX_JSON_BYTES:
        raise TooLarge(f"binary: more than {MAX_JSON_BYTES // 2**20} MiB")
    return Blob(message.binary, kind)
