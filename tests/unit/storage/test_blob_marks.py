"""In which namespaces blobs are: in memory and in a file they say the same; those in a file hold for ever."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import StateUnavailable
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.storage import blob_marks
from gateway.storage.idempotency import Keys
from gateway.storage.sqlite_file import StateFile

FIRST, SECOND = (f"sha256:{digit * 64}" for digit in "ab")


@pytest.fixture(params=["memory", "file"])
async def keys(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Keys]:
    keys = await Keys.open(":memory:" if request.param == "memory" else str(tmp_path / "keys.db"))
    yield keys
    await keys.close()


async def test_a_blob_is_where_it_was_put(keys: Keys) -> None:
    marks = keys.marks
    await marks.put(FIRST, "team-a")
    await marks.put(FIRST, "team-b")
    await marks.put(FIRST, "team-b")
    found = [await marks.has(FIRST, namespace) for namespace in ("team-a", "team-b", "team-c", DEFAULT_NAMESPACE)]
    assert found == [True, True, False, False]
    assert await marks.has(FIRST, None)


async def test_what_has_no_mark_is_of_the_default_namespace(keys: Keys) -> None:
    marks = keys.marks
    assert await marks.has(FIRST, DEFAULT_NAMESPACE)
    assert not await marks.has(FIRST, "team-a")
    await marks.put(FIRST, DEFAULT_NAMESPACE)
    await marks.put(FIRST, "team-a")
    assert await marks.has(FIRST, DEFAULT_NAMESPACE)


async def test_marks_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_marks, "MEMORY_MARKS", 2)
    keys = await Keys.open(":memory:")
    for namespace in ("team-a", "team-b"):
        await keys.marks.put(FIRST, namespace)
    await keys.marks.put(SECOND, "team-a")
    assert not await keys.marks.has(FIRST, "team-a")
    assert await keys.marks.has(SECOND, "team-a")
    await keys.close()


async def test_marks_hold_over_a_restart_and_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "keys.db")
    keys = await Keys.open(path)
    await keys.marks.put(FIRST, "team-a")
    await keys.close()
    keys = await Keys.open(path)
    assert await keys.marks.has(FIRST, "team-a")
    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "read", None)
        patch.setattr(StateFile, "write", None)
        assert await keys.marks.has(FIRST, "team-a")
        await keys.marks.put(FIRST, "team-a")
    await keys.close()


async def test_only_other_namespaces_need_their_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise StateUnavailable("the disk is full", retry_after=1.0)

    keys = await Keys.open(str(tmp_path / "keys.db"))
    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "write", fails)
        await keys.marks.put(FIRST, DEFAULT_NAMESPACE)
        with pytest.raises(StateUnavailable):
            await keys.marks.put(FIRST, "team-a")
    assert await keys.marks.has(FIRST, DEFAULT_NAMESPACE)
    assert not await keys.marks.has(FIRST, "team-a")
    await keys.close()
