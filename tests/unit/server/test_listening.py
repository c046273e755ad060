"""Where a gateway listens, and why it cannot."""

import socket
from pathlib import Path

import pytest

from gateway.server.listening import listen, reachable_url
from gateway.server.settings import StartError


class Front:
    """A front that cannot listen, for a reason that it does not tell."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def start(self) -> None:
        raise OSError("no reason")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1:80", "http://127.0.0.1:80/x"),
        ("0.0.0.0:80", "http://127.0.0.1:80/x"),
        ("[::]:80", "http://[::1]:80/x"),
        ("[::1]:80", "http://[::1]:80/x"),
        ("host:80", "http://host:80/x"),
        ("unix:/run/gateway.sock", None),
    ],
)
def test_the_url_for_clients_on_this_machine(address: str, url: str | None) -> None:
    assert reachable_url(address, "/x") == url


async def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartError) as caught:
            await listen(Front(address), "--grpc-address")
    assert str(caught.value) == f"cannot listen on {address}: Address already in use (--grpc-address)"


async def test_a_directory_that_does_not_exist_is_told_in_one_line(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/absent/gateway.sock"
    with pytest.raises(StartError) as caught:
        await listen(Front(address), "--http-address")
    assert str(caught.value) == f"cannot listen on {address}: No such file or directory (--http-address)"


async def test_a_reason_that_cannot_be_found() -> None:
    with pytest.raises(StartError, match=r"cannot listen on 127\.0\.0\.1:0: it was refused \(--http-address\)"):
        await listen(Front("127.0.0.1:0"), "--http-address")
