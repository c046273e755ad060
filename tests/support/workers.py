"""The worker processes of a gateway, and which of them has which connection."""

import os
from itertools import chain
from pathlib import Path

from tests.support.command_line import Serving


def workers_of(serving: Serving) -> list[int]:
    """The ids of the worker processes."""
    pid = serving.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets that a process has."""
    names = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    return {name[len("socket:[") : -1] for name in names if name.startswith("socket:")}


def accepted_at(address: str) -> set[str]:
    """The inodes of the server's ends of connections to an address."""
    port = int(address.rpartition(":")[2])
    found = set()
    # To grpcio, every TCP socket is one of IPv6.
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    for line in chain.from_iterable(tables):
        _, local, remote, *rest = line.split()
        # What listens has no remote port.
        if int(local.rpartition(":")[2], 16) == port and int(remote.rpartition(":")[2], 16):
            found.add(rest[6])
    return found
