"""Where the HTTP front listens."""

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_address
from socket import AI_PASSIVE, SOCK_STREAM
from typing import Final, Literal, Self

from gateway.core.server_sockets import bind_tcp, bind_unix, claimed, remove_socket, socket_path
from gateway.fronts.http.host_check import HostCheck, ServedHosts

_BACKLOG: Final = 1_024


class HttpListeners:
    """The sockets of one address: that of a unix socket, or one for each address of a host."""

    def __init__(
        self,
        address: str,
        servers: list[asyncio.Server],
        *,
        reach: Literal["loopback", "network", "unix"],
        file: os.stat_result | None,
    ) -> None:
        self.address = address
        """`HOST:PORT` with the port that was taken, or `unix:PATH`."""
        self._reach = reach
        self._servers = servers
        self._file = file

    @classmethod
    async def open(
        cls, address: str, make_connection: Callable[[], asyncio.Protocol], *, reuse_port: bool = False
    ) -> Self:
        """Listen at `HOST:PORT` or `unix:PATH`.

        Raises ValueError if the address is malformed, OSError if it cannot be taken.
        """
        if (path := socket_path(address)) is not None:
            return await cls._open_unix(path, make_connection)
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"expected HOST:PORT or unix:PATH, not {address!r}")
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host.strip("[]"), int(port), type=SOCK_STREAM, flags=AI_PASSIVE)
        sockets = bind_tcp(found, int(port), shared=reuse_port)
        places = [bound.getsockname() for bound in sockets]
        local = all(ip_address(place[0].partition("%")[0]).is_loopback for place in places)
        with ExitStack() as stack:
            for bound in sockets:
                stack.callback(bound.close)
            servers = [await loop.create_server(make_connection, sock=bound, backlog=_BACKLOG) for bound in sockets]
            stack.pop_all()
        return cls(f"{host}:{places[0][1]}", servers, reach="loopback" if local else "network", file=None)

    @classmethod
    async def _open_unix(cls, path: str, make_connection: Callable[[], asyncio.Protocol]) -> Self:
        loop = asyncio.get_running_loop()
        async with claimed(f"unix:{path}"):
            bound = bind_unix(path)
            file = os.stat(path)
            server = await loop.create_unix_server(make_connection, sock=bound, backlog=_BACKLOG)
        return cls(f"unix:{path}", [server], reach="unix", file=file)

    def host_check(self, hosts: ServedHosts) -> HostCheck:
        """The check of the requests that come here."""
        allowed, own, origins = hosts
        host = self.address.rpartition(":")[0]
        if self._reach == "unix":
            return HostCheck(allowed, any_host=True, origins=origins)
        # The host of the address is the one that component servers are told.
        any_host = self._reach == "network" and not allowed
        return HostCheck([*allowed, *own, host], any_host=any_host, origins=origins)

    def close(self) -> None:
        """Take no more connections."""
        path = socket_path(self.address)
        if path is not None and self._file is not None:
            # While it listens still: a server that starts now does not take the path before.
            remove_socket(path, self._file)
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Wait until nothing listens any more."""
        for server in self._servers:
            await server.wait_closed()
