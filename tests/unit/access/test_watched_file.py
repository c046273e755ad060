"""Files that are read again when they change."""

import os
from pathlib import Path

import pytest

from gateway.access.watched_file import WatchedFile


def read(content: bytes) -> str:
    if b"broken" in content:
        raise ValueError("it is broken")
    return content.decode()


def written(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


async def test_a_file_is_read_anew_when_it_has_changed(tmp_path: Path) -> None:
    path = written(tmp_path / "file", "one")
    file = WatchedFile(str(path), read, 100)
    assert file.value == "one"
    assert not await file.look()
    written(path, "three")
    assert await file.look()
    assert file.value == "three"
    assert not await file.look()


async def test_a_file_that_is_replaced_by_one_alike_is_another(tmp_path: Path) -> None:
    path = written(tmp_path / "file", "one")
    file = WatchedFile(str(path), read, 100)
    other = written(tmp_path / "other", "two")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert await file.look()
    assert file.value == "two"


async def test_a_symbolic_link_in_its_path_may_lead_elsewhere(tmp_path: Path) -> None:
    """As Kubernetes does: the file is below a link to a directory, and the link is replaced."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "file", name)
    link = tmp_path / "current"
    link.symlink_to("first")
    file = WatchedFile(str(link / "file"), read, 100)
    assert file.value == "first"
    swapped = tmp_path / "swapped"
    swapped.symlink_to("second")
    swapped.replace(link)
    assert await file.look()
    assert file.value == "second"


async def test_a_pipe_in_its_place_changes_nothing_is_told_once_and_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "file", "one")
    file = WatchedFile(str(path), read, 100)
    path.unlink()
    os.mkfifo(path)
    for _ in range(3):
        assert not await file.look()
    assert file.value == "one"
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: Not a regular file; what it said before counts"
    ]
    path.unlink()
    written(path, "whole")
    assert await file.look()
    assert file.value == "whole"


@pytest.mark.parametrize("broken", ["broken", "x" * 101, None])
async def test_a_broken_file_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str | None
) -> None:
    path = written(tmp_path / "file", "one")
    file = WatchedFile(str(path), read, 100)
    if broken is None:
        path.unlink()
    else:
        written(path, broken)
    for _ in range(3):
        assert not await file.look()
    assert file.value == "one"
    assert len(caplog.records) == 1
    assert "what it said before counts" in caplog.text
    written(path, "whole")
    assert await file.look()
    assert file.value == "whole"


@pytest.mark.parametrize("text", ["broken", "x" * 101])
def test_a_file_that_is_broken_from_the_beginning_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"broken|at most"):
        WatchedFile(str(written(tmp_path / "file", text)), read, 100)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        WatchedFile(str(tmp_path / "file"), read, 100)
