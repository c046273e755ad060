"""Blobs <-> protobuf messages."""

from gateway.adapter.proto_fields import unknown_number
from gateway.core.errors import InvalidParams, TooLarge
from gateway.core.json_text import MAX_JSON_BYTES, json_text
from gateway.core.model import Blob, BlobType
from runs.v1 import blobs_pb2

_BLOB_TYPES = {
    blobs_pb2.BLOB_TYPE_UNSPECIFIED: BlobType.DATA,
    blobs_pb2.BLOB_TYPE_FLOW: BlobType.FLOW,
    blobs_pb2.BLOB_TYPE_DATA: BlobType.DATA,
}
_BLOB_TYPE_NUMBERS = {kind: number for number, kind in _BLOB_TYPES.items()}


def blob_from_put_request(message: blobs_pb2.PutBlobRequest) -> Blob:
    """Read the blob to store. Raises TooLarge if binary content exceeds the limit of JSON content."""
    kind = _BLOB_TYPES.get(message.type)
    if kind is None:
        raise unknown_number("type")
    blob = _blob(message, kind)
    if kind is BlobType.FLOW and isinstance(blob.content, bytes):
        raise InvalidParams.field("binary", description="a flow is JSON: set json")
    return blob


def blob_to_put_request(blob: Blob) -> blobs_pb2.PutBlobRequest:
    """Write a blob to store."""
    kind = _BLOB_TYPE_NUMBERS[blob.type]
    if isinstance(blob.content, bytes):
        return blobs_pb2.PutBlobRequest(binary=blob.content, type=kind)
    return blobs_pb2.PutBlobRequest(json=blob.content, type=kind)


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


def _blob(message: blobs_pb2.PutBlobRequest | blobs_pb2.GetBlobResponse, kind: BlobType) -> Blob:
    content = message.WhichOneof("content")
    if content == "json":
        return Blob(json_text(message.json, "json"), kind)
    if content is None:
        raise InvalidParams.field("content", description="set json or binary")
    if len(message.binary) > MAX_JSON_BYTES:
        raise TooLarge(f"binary: more than {MAX_JSON_BYTES // 2**20} MiB")
    return Blob(message.binary, kind)
