"""Ports that the workers of one gateway share."""

import socket

import pytest

from gateway.server.settings import StartError
from gateway.server.shared_ports import SharedPorts


def listener(port: int) -> socket.socket:
    """A worker that listens on a shared port."""
    worker = socket.socket()
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    worker.bind(("127.0.0.1", port))
    worker.listen()
    return worker


def test_workers_listen_on_a_reserved_port_together() -> None:
    ports = SharedPorts()
    host, _, port = ports.reserve("127.0.0.1:0", "--grpc-address").rpartition(":")
    assert host == "127.0.0.1"
    with listener(int(port)), listener(int(port)), socket.create_connection((host, int(port))):
        pass
    ports.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_a_port_on_which_the_workers_of_another_gateway_listen_is_refused() -> None:
    ports, others = SharedPorts(), SharedPorts()
    address = ports.reserve("127.0.0.1:0", "--grpc-address")
    with listener(int(address.rpartition(":")[2])), pytest.raises(StartError) as caught:
        others.reserve(address, "--http-address")
    others.close()
    ports.close()
    assert str(caught.value) == f"cannot listen on {address}: Address already in use (--http-address)"


def test_a_host_that_does_not_exist_is_told_in_one_line() -> None:
    ports = SharedPorts()
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0: .* \(--grpc-address\)"):
        ports.reserve("192.0.2.1:0", "--grpc-address")
    ports.close()
