import json

import pytest

from gateway.adapter.blobs_json import blob_from_json, blob_id_from_json, blob_id_to_json, blob_to_json
from gateway.core.errors import InvalidParams
from gateway.core.model import Blob, BlobType

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "blob"),
    [
        ('{"data":{"b":1,"a":1e400},"blob_type":"flow"}', Blob('{"b":1,"a":1e400}', BlobType.FLOW)),
        ('{"data":[ 1 ],"blobType":"data","blobId":"x"}', Blob("[ 1 ]", BlobType.DATA)),
        ('{"data":null}', Blob("null", BlobType.DATA)),
        ('{"data":1,"blobType":null,"blob_type":"flow","observability":{}}', Blob("1", BlobType.FLOW)),
        ('{"data":"/wA=","blobType":"binary"}', Blob(b"\xff\x00", BlobType.DATA)),
    ],
)
def test_reads_every_dialect(text: str, blob: Blob) -> None:
    assert blob_from_json(text) == blob
    assert blob_from_json(blob_to_json(blob)) == blob


@pytest.mark.parametrize("blob_id", [DIGEST, f"sha256:{DIGEST}", f"sha256:{DIGEST.upper()}"])
def test_ids_are_written_bare_in_both_spellings(blob_id: str) -> None:
    assert json.loads(blob_id_to_json(blob_id)) == {"blobId": DIGEST, "blob_id": DIGEST}
    assert json.loads(blob_to_json(Blob("1", BlobType.DATA), blob_id)) == {
        "data": 1,
        "blobType": "data",
        "blob_type": "data",
        "blobId": DIGEST,
        "blob_id": DIGEST,
    }


@pytest.mark.parametrize("text", ['{"blobId":"x"}', '{"blob_id":"x"}', '{"blobId":null,"blob_id":"x"}'])
def test_reads_ids_in_both_spellings(text: str) -> None:
    assert blob_id_from_json(text) == "x"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (None, "data"),
        ("{}", "data"),
        ("[1]", None),
        ('{"data":1,"blobType":"odd"}', "blob_type"),
        ('{"data":1,"blobType":1}', "blob_type"),
        ('{"data":1,"blobType":"binary"}', "data"),
        ('{"data":"a","blobType":"binary"}', "data"),
        ('{"data":"é","blobType":"binary"}', "data"),
    ],
)
def test_refuses_and_names_the_field(text: str | None, path: str | None) -> None:
    with pytest.raises(InvalidParams) as caught:
        blob_from_json(text)
    assert [violation.path for violation in caught.value.violations] == [(path,) if path else ()]


@pytest.mark.parametrize(
    ("text", "path"), [(None, ("blob_id",)), ("{}", ("blob_id",)), ('{"blobId":1}', ("blob_id",)), ("1", ())]
)
def test_refuses_what_holds_no_id(text: str | None, path: tuple[str, ...]) -> None:
    with pytest.raises(InvalidParams) as caught:
        blob_id_from_json(text)
    assert [violation.path for violation in caught.value.violations] == [path]
