"""Addresses that people write: `HOST:PORT` and `unix:/PATH`."""

import re
from ipaddress import ip_address
from typing import Final

DEFAULT_GRPC_ADDRESS: Final = "127.0.0.1:50051"
"""Where a gateway serves gRPC, and clients find it, unless they are told otherwise."""

_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.%\w-]+\]|[\w.-]+")


def check_address(address: str) -> str:
    """Return an address if it is one. Raises ValueError, which says what is wrong with it, otherwise."""
    if problem := _problem(address):
        raise ValueError(f"expected HOST:PORT or unix:/PATH, got {address!r}{problem}")
    return address


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address: `HOST:PORT`, `unix:PATH`, or a URL with a loopback host."""
    if address.startswith("unix:"):
        return True
    place = address.rpartition("://")[2].partition("/")[0].rpartition("@")[2]
    host = place if place.endswith("]") else place.rpartition(":")[0] or place
    host = host.strip("[]").partition("%")[0]
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _problem(address: str) -> str:
    """What is wrong with an address; empty if nothing is."""
    scheme, separator, rest = address.partition("://")
    if address.startswith("unix:"):
        return "" if address.startswith("unix:/") else ": a path begins with a slash"
    if separator:
        return f": leave '{scheme}://' out" + (f", and '/{rest.partition('/')[2]}'" if "/" in rest else "")
    if address.startswith("/"):
        return f": the path of a socket is written 'unix:{address}'"
    if "@" in address:
        return f": leave '{address.rpartition('@')[0]}@' out"
    return _problem_of_port(*address.rpartition(":"))


def _problem_of_port(host: str, colon: str, port: str) -> str:
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port or (host.startswith("[") and port.endswith("]")):
        return ": the port is missing"
    if ":" in host and not bracketed:
        return ": an IPv6 address stands in brackets, as in [::1]:50051"
    if not host:
        return ": the host is missing"
    if not _HOST.fullmatch(host):
        return f": {host!r} is not a host"
    valid = port.isascii() and port.isdigit() and int(port[:6]) <= 65535
    return "" if valid else f": {port!r} is not a port"
