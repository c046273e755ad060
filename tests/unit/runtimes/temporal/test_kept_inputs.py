"""Inputs are kept as they are, and callers are told when the storage is away."""

from pathlib import Path

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Unavailable
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.kept_inputs import SEGMENT_SIZE, KeptInputs
from gateway.storage.objects import ObjectStore

LONG = f'"{"x" * SEGMENT_SIZE}"'
TEXTS = [str(number) if number % 2 else LONG for number in range(30)]
RECORD = RunRecord("r", "f", None, None, len(TEXTS), None, None, "{}", None, "", None, "", 1)


@pytest.fixture
async def store(tmp_path: Path) -> ObjectStore:
    return await ObjectStore.open(tmp_path.as_uri(), MemoryAccount())


async def test_long_inputs_are_read_from_where_they_were_put(store: ObjectStore) -> None:
    start = await KeptInputs(store).keep(RECORD, TEXTS)
    assert start.inputs.texts is None
    assert len(start.inputs.starts) > 10
    assert await KeptInputs(store).between("r", start.inputs, 0, len(TEXTS)) == TEXTS
    assert await KeptInputs(store).between("r", start.inputs, 7, 12) == TEXTS[7:12]


async def test_a_storage_that_is_away_is_told(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(key: str, data: bytes) -> None:
        raise Unavailable("the object storage is away")

    monkeypatch.setattr(store, "put", away)
    with pytest.raises(Unavailable, match="the object storage is away"):
        await KeptInputs(store).keep(RECORD, TEXTS)
