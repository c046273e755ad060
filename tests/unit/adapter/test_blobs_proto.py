from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.adapter import blobs_proto
from gateway.core.errors import InvalidParams, TooLarge
from gateway.core.model import Blob, BlobType
from runs.v1 import blobs_pb2

UNKNOWN_BLOB_TYPE = cast("blobs_pb2.BlobType.ValueType", 7)


@pytest.mark.parametrize(
    "blob", [Blob('{"b":1,"a":1e400}', BlobType.FLOW), Blob("null", BlobType.DATA), Blob(b"\xff\x00", BlobType.DATA)]
)
def test_blobs_there_and_back(blob: Blob) -> None:
    assert blobs_proto.blob_from_put_request(blobs_proto.blob_to_put_request(blob)) == blob
    assert blobs_proto.blob_from_get_response(blobs_proto.blob_to_get_response(blob)) == blob


def test_a_blob_without_type_is_data() -> None:
    assert blobs_proto.blob_from_put_request(blobs_pb2.PutBlobRequest(json=" 1 ")) == Blob("1", BlobType.DATA)


def test_binary_blobs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs_proto, "MAX_JSON_BYTES", 10)
    assert blobs_proto.blob_from_put_request(blobs_pb2.PutBlobRequest(binary=b"x" * 10)).content == b"x" * 10
    with pytest.raises(TooLarge, match=r"^binary: "):
        blobs_proto.blob_from_put_request(blobs_pb2.PutBlobRequest(binary=b"x" * 11))


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (blobs_pb2.PutBlobRequest(), "content"),
        (blobs_pb2.PutBlobRequest(json="nope"), "json"),
        (blobs_pb2.PutBlobRequest(json="1", type=UNKNOWN_BLOB_TYPE), "type"),
        (blobs_pb2.PutBlobRequest(binary=b"1", type=blobs_pb2.BLOB_TYPE_FLOW), "binary"),
        (blobs_pb2.GetBlobResponse(), "content"),
        (blobs_pb2.GetBlobResponse(json="1", type=UNKNOWN_BLOB_TYPE), "type"),
    ],
)
def test_refuses_and_names_the_field(message: Any, path: str) -> None:
    readers: dict[type, Callable[[Any], object]] = {
        blobs_pb2.PutBlobRequest: blobs_proto.blob_from_put_request,
        blobs_pb2.GetBlobResponse: blobs_proto.blob_from_get_response,
    }
    with pytest.raises(InvalidParams) as caught:
        readers[type(message)](message)
    assert [str(violation).split(":")[0] for violation in caught.value.violations] == [path]


@pytest.mark.parametrize("kind", BlobType)
@pytest.mark.parametrize(
    "content", ["", "1", '"' + "x" * 200_000 + '"', '"' + "xé\U0001f600" * 50_000 + '"', b"", bytes(range(256)) * 1000]
)
async def test_a_long_answer_is_what_protobuf_would_write(kind: BlobType, content: str | bytes) -> None:
    blob = Blob(content, kind)
    passed = 0

    async def checkpoint() -> None:
        nonlocal passed
        passed += 1

    expected = blobs_proto.blob_to_get_response(blob)
    size = expected.ByteSize()
    told: list[int] = []
    written = await blobs_proto.long_get_response(blob, told.append, checkpoint)
    assert told == [size]
    assert len(written) == size
    assert blobs_pb2.GetBlobResponse.FromString(written) == expected
    assert passed >= len(content) // (64 << 10)

    def refuse(size: int) -> None:
        raise TooLarge(str(size))

    with pytest.raises(TooLarge, match=str(size)):
        await blobs_proto.long_get_response(blob, refuse, checkpoint)
