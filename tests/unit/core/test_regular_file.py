"""Files that are replaced by something whose opening would block."""

import os
import socket
from pathlib import Path

import pytest

from gateway.core.regular_file import NOT_REGULAR, opened_regular


def test_a_regular_file_is_read_also_by_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("content")
    link.symlink_to(path)
    for each in (path, link):
        with opened_regular(str(each)) as file:
            assert file.read() == b"content"
            assert not os.get_inheritable(file.fileno())


def test_what_is_no_regular_file_is_refused_and_nothing_waits(tmp_path: Path) -> None:
    pipe, at_socket = tmp_path / "pipe", tmp_path / "socket"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(at_socket))
        for path in (str(pipe), str(at_socket), "/dev/zero"):
            with pytest.raises(OSError, match=NOT_REGULAR):
                opened_regular(path)
    with pytest.raises(IsADirectoryError):
        opened_regular(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        opened_regular(str(tmp_path / "missing"))


def test_a_pipe_that_takes_the_place_of_a_file_just_before_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.touch()
    regular = os.stat(file)
    monkeypatch.setattr(os, "stat", lambda _: regular)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(OSError, match=NOT_REGULAR):
        opened_regular(str(pipe))
    assert len(os.listdir("/dev/fd")) == before
