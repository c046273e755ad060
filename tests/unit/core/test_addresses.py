"""Addresses that people write, and what is wrong with those that are none."""

import pytest

from gateway.core.addresses import check_address, is_local


@pytest.mark.parametrize(
    "address",
    [
        "localhost:1",
        "127.0.0.1:0",
        "[::1]:65535",
        "[fe80::1%eth0]:1",
        "bücher.example:1",
        "a_b-c:1",
        "a.b:50051",
        "unix:/run/a.sock",
    ],
)
def test_addresses(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("http://a:1", "leave 'http://' out"),
        ("grpc://a:1/b/c", "leave 'grpc://' out, and '/b/c'"),
        ("localhost", "the port is missing"),
        ("localhost:", "the port is missing"),
        ("50051", "the port is missing"),
        ("", "the port is missing"),
        ("[::1]", "the port is missing"),
        (":50051", "the host is missing"),
        ("::1:80", "an IPv6 address stands in brackets, as in [::1]:50051"),
        ("a:65536", "'65536' is not a port"),
        (f"a:{'9' * 5_000}", f"'{'9' * 5_000}' is not a port"),
        ("a:-1", "'-1' is not a port"),
        ("a:٣", "'٣' is not a port"),
        ("a:1/b", "'1/b' is not a port"),
        ("/run/a.sock", "the path of a socket is written 'unix:/run/a.sock'"),
        ("user@a:1", "leave 'user@' out"),
        ("user:word@a:1", "leave 'user:word@' out"),
        ("a b:1", "'a b' is not a host"),
        ("a/b:1", "'a/b' is not a host"),
        ("unix:a.sock", "a path begins with a slash"),
    ],
)
def test_what_is_wrong_is_said(address: str, problem: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT or unix:/PATH") as refused:
        check_address(address)
    assert str(refused.value) == f"expected HOST:PORT or unix:/PATH, got {address!r}: {problem}"


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("a.localhost:1", True),
        ("[::1]:1", True),
        ("unix:/a", True),
        ("http://127.0.0.1:1/a", True),
        ("jsonrpc+http://[::1]:1/a", True),
        ("stepflow+http://localhost", True),
        ("192.0.2.1:1", False),
        ("[::]:1", False),
        ("127.0.0.1", True),
        ("https://user@127.0.0.1:1/a@b:1", True),
        ("dns:///localhost:1", False),
        ("localhost.example:1", False),
        ("[fe80::1%eth0]:1", False),
        ("192.168.1.1:1", False),
        ("http://a.example:1/", False),
        ("http://a.example", False),
    ],
)
def test_what_only_this_machine_reaches(address: str, local: bool) -> None:
    assert is_local(address) is local
