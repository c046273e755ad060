"""The messages of an upload: which inputs each of them holds."""

from itertools import chain

import pytest

from gateway.peers.grpc import upload
from gateway.peers.grpc.upload import PART_LENGTH, PART_SECONDS, UploadParts, upload_parts
from runs.v1 import runs_pb2


@pytest.mark.parametrize("texts", [[], ["1"], ["1"] * (PART_LENGTH + 1), ['"' + "x" * 700_000 + '"'] * 5])
def test_parts_hold_all_inputs_in_order_and_the_parameters_once(texts: list[str]) -> None:
    parts = list(upload_parts(runs_pb2.SubmitRunRequest(flow_id="flow"), texts))
    assert [part.HasField("parameters") for part in parts] == [True] + [False] * (len(parts) - 1)
    assert [value.json for value in chain.from_iterable(part.inputs for part in parts)] == texts
    assert all(part.ByteSize() < 2 * upload.PART_BYTES for part in parts)
    assert len(parts) == {0: 1, 1: 1, 5: 5}.get(len(texts), 2)


def test_sizes_are_those_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", 4)
    parts = list(upload_parts(runs_pb2.SubmitRunRequest(), ["\u00fc", "\u00fc", "1", "2"]))
    assert [[value.json for value in part.inputs] for part in parts] == [["\u00fc", "\u00fc"], ["1", "2"]]


def test_inputs_that_come_slowly_are_sent_meanwhile() -> None:
    now = 0.0
    parts = UploadParts(runs_pb2.SubmitRunRequest(), clock=lambda: now)
    assert parts.add("1") is None
    now = PART_SECONDS
    sent = parts.add("2")
    assert sent is not None
    assert [value.json for value in sent.inputs] == ["1"]
    assert parts.add("3") is None
    assert [value.json for value in parts.rest().inputs] == ["2", "3"]
