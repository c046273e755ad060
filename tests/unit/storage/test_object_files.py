"""Objects as files: whole or not there, and durable before anybody is told."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.storage.object_backend import ObjectMissing, ObjectsAway, ObjectsError, StoredObject
from gateway.storage.object_files import ObjectFiles

LONG = os.urandom(300_000)


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[ObjectFiles]:
    files = ObjectFiles(tmp_path)
    await files.check()
    yield files
    await files.close()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def admit(_: int) -> None:
    """Take any size."""


async def test_what_was_put_is_there(files: ObjectFiles, tmp_path: Path) -> None:
    await files.put("a/b/c", b"short")
    await files.put("a/b/d", LONG)
    await files.put("e", b"")
    assert [await files.get(key, admit) for key in ("a/b/c", "a/b/d", "e")] == [b"short", LONG, b""]
    assert names(tmp_path) == ["a/b/c", "a/b/d", "e"]
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o600


async def test_what_is_put_again_is_replaced(files: ObjectFiles) -> None:
    await files.put("a", b"1")
    await files.put("a", b"22")
    assert await files.size("a") == 2


async def test_the_size_is_told_before_a_long_one_is_read(files: ObjectFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    await files.put("long", LONG)

    def refuse(size: int) -> None:
        assert size == len(LONG)
        raise RuntimeError

    monkeypatch.setattr(files, "_read", None)
    with pytest.raises(RuntimeError):
        await files.get("long", refuse)


@pytest.mark.parametrize("key", ["a", "folder", "folder/a/b"])
async def test_what_is_no_object_is_missing(files: ObjectFiles, key: str) -> None:
    await files.put("folder/a", b"1")
    for call in (files.get(key, admit), files.size(key)) if key != "folder" else (files.get(key, admit),):
        with pytest.raises(ObjectMissing):
            await call


async def test_a_name_is_given_when_everything_is_on_the_disk(
    files: ObjectFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    rename, fsync = os.rename, os.fsync

    def noted_rename(source: str, target: str) -> None:
        done.append(f"rename {os.path.relpath(target, tmp_path)}")
        rename(source, target)

    def noted_fsync(descriptor: int) -> None:
        path = os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path)
        done.append("content" if path.startswith(".unfinished") else path)
        fsync(descriptor)

    monkeypatch.setattr("os.rename", noted_rename)
    monkeypatch.setattr("os.fsync", noted_fsync)
    await files.put("a/b/c", b"1")
    await files.put("a/b/d", b"1")
    assert done == ["content", ".", "a", "rename a/b/c", "a/b", "content", "rename a/b/d", "a/b"]


async def test_a_write_that_fails_leaves_nothing(
    files: ObjectFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await files.put("a", b"before")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(ObjectsAway, match="No space left on device"):
        await files.put("a", b"after")
    assert names(tmp_path) == ["a"]
    assert await files.get("a", admit) == b"before"


async def test_a_write_whose_caller_leaves_is_whole(files: ObjectFiles, tmp_path: Path) -> None:
    putting = asyncio.create_task(files.put("a", LONG))
    await asyncio.sleep(0)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    await files.close()
    assert names(tmp_path) in ([], ["a"])
    assert not (tmp_path / "a").exists() or (tmp_path / "a").read_bytes() == LONG


async def test_folders_go_with_their_last_object_and_come_again(files: ObjectFiles, tmp_path: Path) -> None:
    for key in ("runs/1/a", "runs/1/b", "runs/2/a"):
        await files.put(key, b"1")
    await files.delete(["runs/1/a", "runs/1/b", "runs/1/c", "other/1"])
    assert names(tmp_path) == ["runs/2/a"]
    assert not (tmp_path / "runs/1").exists()
    await files.put("runs/1/c", b"1")
    assert names(tmp_path) == ["runs/1/c", "runs/2/a"]


async def test_a_folder_that_another_process_has_deleted_is_made_again(files: ObjectFiles, tmp_path: Path) -> None:
    await files.put("runs/1/a", b"1")
    shutil.rmtree(tmp_path / "runs")
    await files.put("runs/1/b", b"1")
    assert names(tmp_path) == ["runs/1/b"]


async def test_lists_are_in_the_order_of_keys(files: ObjectFiles) -> None:
    for number, key in enumerate(["a/2", "a/10", "a/1/x", "a/1-", "b/1"]):
        await files.put(key, bytes(number))
    assert await files.list_objects("a", "", 9) == [
        StoredObject("a/1-", 3),
        StoredObject("a/1/x", 2),
        StoredObject("a/10", 1),
        StoredObject("a/2", 0),
    ]
    assert [found.key for found in await files.list_objects("", "a/10", 2)] == ["a/2", "b/1"]
    assert await files.list_objects("none", "", 9) == []


async def test_a_directory_that_has_gone_does_not_make_objects_missing(files: ObjectFiles, tmp_path: Path) -> None:
    """A shared directory may not be mounted."""
    await files.put("a", b"1")
    shutil.rmtree(tmp_path)
    for call in (files.get("a", admit), files.size("a"), files.put("b", b"1"), files.delete(["a"])):
        with pytest.raises(ObjectsAway):
            await call
    with pytest.raises(ObjectsAway):
        await files.list_objects("", "", 1)


async def test_files_that_a_crash_has_left_are_deleted_when_they_are_old(files: ObjectFiles, tmp_path: Path) -> None:
    old, new = tmp_path / ".unfinished/old", tmp_path / ".unfinished/new"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 100_000,) * 2)
    await files.check()
    assert (old.exists(), new.exists()) == (False, True)
    assert await files.list_objects("", "", 9) == []


async def test_a_directory_that_is_not_there_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        files = ObjectFiles(path)
        with pytest.raises(ObjectsError, match="is not there"):
            await files.check()
        await files.close()
