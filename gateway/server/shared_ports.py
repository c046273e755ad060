"""Ports on which several processes of one gateway listen together."""

import socket

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
        host, _, text = address.rpartition(":")
        port = int(text)
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, name in dict.fromkeys((family, str(sockaddr[0])) for family, _, _, _, sockaddr in found):
                port = self._bind(family, name, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError(f"cannot listen on {address}: {reason} ({flag})") from None
        return f"{host}:{port}"

    def close(self) -> None:
        """Give the ports back."""
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()

    def _bind(self, family: int, name: str, port: int) -> int:
        """Bind a socket, and return its port."""
        bound = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append(bound)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((name, port))
        # Set after binding: set before, it would let the socket take a port that another gateway shares.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return int(bound.getsockname()[1])
