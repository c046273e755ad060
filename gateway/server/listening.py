"""Where a gateway listens, and why it cannot."""

import os
import socket
from typing import NamedTuple, Protocol

from gateway.core.server_sockets import socket_path
from gateway.server.settings import StartError


class Addresses(NamedTuple):
    """Where a running gateway listens: `HOST:PORT` with the port that it took, or `unix:PATH`."""

    grpc: str
    http: str
    metrics: str | None = None
    """The URL of the metrics, or `unix:PATH`; None if they are not served."""


class Listener(Protocol):
    """A front, as far as it listens."""

    @property
    def address(self) -> str:
        """Where it is to listen and, once it does, where it listens."""

    async def start(self) -> None:
        """Listen. Raises OSError if the address cannot be had."""


async def listen(front: Listener, flag: str) -> None:
    """Let a front listen. Raises StartError if it cannot; `flag` is the one that sets the address."""
    try:
        await front.start()
    except OSError as error:
        reason = error.strerror or _obstacle(front.address)
        raise StartError(f"cannot listen on {front.address}: {reason} ({flag})") from None


def reachable_url(http_address: str, path: str) -> str | None:
    """The URL of `path` for clients on this machine; None if the front listens on a unix socket."""
    if socket_path(http_address) is not None:
        return None
    host, _, port = http_address.rpartition(":")
    reachable = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"http://{reachable}:{port}{path}"


def _obstacle(address: str) -> str:
    """Why nothing can listen at an address: the error of grpc lacks the reason."""
    host, _, port = address.rpartition(":")
    try:
        if (path := socket_path(address)) is not None:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(path)
                os.unlink(path)
        else:
            family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
            socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except OSError as error:
        return (error.strerror or str(error)).partition(" (while")[0]
    return "it was refused"
