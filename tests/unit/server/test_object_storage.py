"""The object storage of a gateway: given, there, and closed in the end."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Unavailable
from gateway.server.object_storage import open_objects
from gateway.server.settings import ServeSettings, SettingsError, StartError
from gateway.telemetry.gateway_metrics import OBJECT_STORAGE_UP


async def test_it_is_where_the_settings_say(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        store = await open_objects(ServeSettings(blobs=f"file://{tmp_path}"), MemoryAccount(), stack)
        await store.put("a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"
    with pytest.raises(RuntimeError, match="shutdown"):
        await store.get("a")


async def test_it_has_to_be_given() -> None:
    with pytest.raises(SettingsError, match=r"^blobs: is needed .*--blobs"):
        await open_objects(ServeSettings(), MemoryAccount(), AsyncExitStack())


async def test_one_that_cannot_be_used_is_told_with_its_flag(tmp_path: Path) -> None:
    settings = ServeSettings(blobs=f"file://{tmp_path}/none")
    with pytest.raises(
        StartError, match=r"^the object storage cannot be used: the directory is not there.*\(--blobs\)$"
    ):
        await open_objects(settings, MemoryAccount(), AsyncExitStack())


async def test_whether_it_can_be_reached_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.storage.storage_watch.LOOK_SECONDS", 0.01)
    folder, elsewhere = tmp_path / "objects", tmp_path / "elsewhere"
    folder.mkdir()

    async def told(line: str) -> None:
        while line not in caplog.messages:  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0.01)

    async with AsyncExitStack() as stack:
        store = await open_objects(ServeSettings(blobs=f"file://{folder}"), MemoryAccount(), stack)
        assert OBJECT_STORAGE_UP.family().samples == [(("file",), [1])]
        folder.rename(elsewhere)
        with pytest.raises(Unavailable):
            await store.put("a", b"1")
        assert OBJECT_STORAGE_UP.family().samples == [(("file",), [0])]
        await told("the object storage is away: calls that need it are refused, and items wait")
        elsewhere.rename(folder)
        await told("the object storage is back")
        assert OBJECT_STORAGE_UP.family().samples == [(("file",), [1])]
    assert OBJECT_STORAGE_UP.family().samples == []
