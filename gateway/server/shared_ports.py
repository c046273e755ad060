"""Ports on which several processes of one gateway listen together."""

import socket

from gateway.core.server_sockets import bind_tcp
from gateway.server.settings import StartError


class SharedPorts:
    """Reserves ports, and holds them until it is closed.

    The sockets here are bound but do not listen: the kernel gives connections only to the workers, which do.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def reserve(self, address: str, flag: str) -> str:
        """Reserve `HOST:PORT` and return it with the port that was taken, if that is 0.

        Raises StartError if the address cannot be had; `flag` is the one that sets it.
        """
        host, _, port = address.rpartition(":")
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            bound = bind_tcp(found, int(port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError(f"cannot listen on {address}: {reason} ({flag})") from None
        self._sockets += bound
        for each in bound:
            # Set after binding: set before, it would let the socket take a port that another gateway shares.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return f"{host}:{bound[0].getsockname()[1]}"

    def close(self) -> None:
        """Give the ports back."""
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()
