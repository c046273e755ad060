"""The sockets that servers listen on."""

import socket
from pathlib import Path

import pytest

from gateway.core.server_sockets import bind_tcp, bind_unix, claimed, remove_socket


async def test_a_path_with_a_server_whose_backlog_is_full_is_taken(tmp_path: Path) -> None:
    path = f"{tmp_path}/a"
    with bind_unix(path) as server:
        server.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            with pytest.raises(OSError, match="Address already in use"):
                async with claimed(f"unix:{path}"):
                    pass


async def test_a_socket_of_datagrams_is_taken(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(f"{tmp_path}/a")
        with pytest.raises(OSError, match="Address already in use"):
            async with claimed(f"unix:{tmp_path}/a"):
                pass


async def test_a_dead_socket_makes_room_and_another_one_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    bind_unix(str(path)).close()
    dead = path.stat()
    async with claimed(f"unix:{path}"):
        assert not path.exists()
        bind_unix(str(path)).close()
    (tmp_path / "b").touch()
    remove_socket(str(tmp_path / "b"), dead)
    remove_socket(str(tmp_path / "absent"), dead)
    assert (tmp_path / "b").exists()
    remove_socket(str(path), path.stat())
    assert not path.exists()


def test_all_addresses_of_a_name_get_one_port_and_those_that_are_not_there_are_left_out() -> None:
    absent = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", 0))
    here = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))
    also = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.2", 0))
    sockets = bind_tcp([absent, here, also], 0)
    assert len({bound.getsockname()[1] for bound in sockets}) == 1
    assert [bound.getsockname()[0] for bound in sockets] == ["127.0.0.1", "127.0.0.2"]
    for bound in sockets:
        bound.close()
    with pytest.raises(OSError, match="Cannot assign"):
        bind_tcp([absent], 0)
