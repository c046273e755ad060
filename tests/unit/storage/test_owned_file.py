"""A file that one process owns, under any name."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.storage.owned_file import OwnedFile, StateError

OWNER = """
import sys
from pathlib import Path
from gateway.storage.owned_file import OwnedFile
OwnedFile.take(Path(sys.argv[1]))
print("taken", flush=True)
sys.stdin.read()
"""


@contextmanager
def owned_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process owns a file while the block lasts."""
    command = [sys.executable, "-c", OWNER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "taken\n"
        yield owner
        owner.kill()


def _same(path: Path) -> Path:
    return path


def _symbolic_link(path: Path) -> Path:
    link = path.with_name("link.db")
    link.symlink_to(path.name)
    return link


def _hard_link(path: Path) -> Path:
    link = path.with_name("hard.db")
    link.hardlink_to(path)
    return link


def _linked_directory(path: Path) -> Path:
    link = path.parent.with_name("linked")
    link.symlink_to(path.parent)
    return link / path.name


def _through_dots(path: Path) -> Path:
    return Path(f"{path.parent}/./absent/../{path.name}".replace("absent/../", ""))


def _relative(path: Path) -> Path:
    return Path(os.path.relpath(path))


def _renamed(path: Path) -> Path:
    return path.rename(path.with_name("renamed.db"))


SPELLINGS = [_same, _symbolic_link, _hard_link, _linked_directory, _through_dots, _relative, _renamed]


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_file_of_another_process_is_refused_under_any_name(spelled: Callable[[Path], Path], tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.db"
    with owned_elsewhere(path):
        other = spelled(path)
        with pytest.raises(StateError) as refused:
            OwnedFile.take(other)
        assert str(refused.value) == f"the state {other} is in use by another process"


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_file_of_this_process_is_refused_as_well(spelled: Callable[[Path], Path], tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.db"
    owned = OwnedFile.take(path)
    other = spelled(path)
    with pytest.raises(StateError, match="in use"):
        OwnedFile.take(other)
    owned.release()


def test_the_lock_of_a_process_that_was_killed_is_gone(tmp_path: Path) -> None:
    with owned_elsewhere(tmp_path / "state.db") as owner:
        owner.kill()
        owner.wait()
        OwnedFile.take(tmp_path / "state.db").release()
    assert [path.name for path in tmp_path.iterdir()] == ["state.db"]


def test_a_file_with_several_names_is_refused_since_sqlite_knows_only_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    OwnedFile.take(path).release()
    link = _hard_link(path)
    with pytest.raises(StateError, match=r"has 2 names \(hard links\)"):
        OwnedFile.take(path)
    link.unlink()
    OwnedFile.take(path).release()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_files_and_directories_are_made_for_this_user_alone(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        owned = OwnedFile.take(tmp_path / "a" / "b" / "state.db")
    finally:
        os.umask(before)
    owned.release()
    modes = [stat.S_IMODE(os.stat(tmp_path / each).st_mode) for each in ("a", "a/b", "a/b/state.db")]
    assert modes == [0o700, 0o700, 0o600]


def test_what_exists_keeps_its_permissions(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o750)
    path = folder / "state.db"
    path.touch()
    path.chmod(0o640)
    OwnedFile.take(path).release()
    assert [stat.S_IMODE(os.stat(each).st_mode) for each in (folder, path)] == [0o750, 0o640]


@pytest.mark.parametrize("change", ["delete", "move", "replace", "delete beside"])
def test_a_file_that_is_no_longer_in_its_place_is_a_loss(change: str, tmp_path: Path) -> None:
    path, beside = tmp_path / "state.db", tmp_path / "state.db-wal"
    owned = OwnedFile.take(path)
    beside.touch()
    owned.keep_beside("-wal")
    owned.keep_beside("-absent")
    assert owned.loss() is None
    match change:
        case "delete":
            path.unlink()
        case "move":
            path.rename(tmp_path / "moved.db")
        case "replace":
            other = tmp_path / "other"
            other.touch()
            other.replace(path)
        case _:
            beside.unlink()
    name = "state.db-wal" if change == "delete beside" else "state.db"
    assert owned.loss() == f"the state is lost: {name} was deleted, moved or replaced"
    if change == "move":
        (tmp_path / "moved.db").rename(path)
        assert owned.loss() is None
    owned.release()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StateError, match="it is not a regular file"):
        OwnedFile.take(tmp_path / "pipe")
    with pytest.raises(StateError, match="Is a directory"):
        OwnedFile.take(tmp_path)
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(StateError, match="Too many levels of symbolic links"):
        OwnedFile.take(loop)
