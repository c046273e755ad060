import os
import socket
import stat
from pathlib import Path

import pytest

from gateway.core.socket_directory import make_socket_directory


@pytest.mark.parametrize("length", [10, 60, 100, 200])
def test_sockets_fit_whatever_the_directory_for_temporary_files_is(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ("x" * length)
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    directory = Path(make_socket_directory())
    try:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(directory / "runtime.sock"))
        (directory / "runtime.sock").unlink()
        assert (directory.parent == place) == (len(os.fsencode(place)) <= 65)
    finally:
        directory.rmdir()
