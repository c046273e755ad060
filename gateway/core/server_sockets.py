"""The sockets that servers listen on: which addresses they take, and how a unix socket is not taken from a server."""

import asyncio
import errno
import fcntl
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]
"""What `getaddrinfo` finds."""

_UNIX: Final = "unix:"
_SOCKET_UMASK: Final = 0o117
"""Sockets get the mode 0660: this user, and the group of the directory or the process."""

_LOCK_SECONDS: Final = 5.0
_LOCK_PAUSE: Final = 0.01
_ATTEMPTS: Final = 10
_ABSENT: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def socket_path(address: str) -> str | None:
    """The path of `unix:PATH`; None for other addresses."""
    return address.removeprefix(_UNIX) if address.startswith(_UNIX) else None


@asynccontextmanager
async def claimed(address: str) -> AsyncIterator[None]:
    """Let the block listen at an address. Of `unix:PATH`, a socket is removed before on which nothing listens any more.

    Servers that start at the same time have their turns. Raises OSError if a server listens there, or if something else
    than a socket is there.
    """
    path = socket_path(address)
    if path is None:
        yield
        return
    # The lock is on the directory, so that nothing remains of it.
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        await _lock(directory)
        _remove_dead_socket(path)
        yield
    finally:
        os.close(directory)


@contextmanager
def socket_permissions() -> Iterator[None]:
    """Let a unix socket that the block binds be for this user and group. All threads see it: the block is short."""
    before = os.umask(_SOCKET_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def bind_unix(path: str) -> socket.socket:
    """A socket that is bound to a path, which is to be claimed. Raises OSError if it cannot be."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_permissions():
            bound.bind(path)
    except BaseException:
        bound.close()
        raise
    return bound


def remove_socket(path: str, identity: os.stat_result) -> None:
    """Remove the socket that a server has bound, unless something else is at its path by now."""
    with suppress(OSError):
        if os.path.samestat(os.stat(path), identity):
            Path(path).unlink()


def bind_tcp(found: Iterable[AddressInfo], port: int, *, shared: bool = False) -> list[socket.socket]:
    """Sockets that are bound to all addresses that `getaddrinfo` has found, with one port; port 0 takes a free one.

    `::` takes the addresses of IPv4 as well. Addresses that this machine does not have are left out, if it has others.
    With `shared`, other processes may bind to the same. Raises OSError if that is impossible.
    """
    places = list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
    attempts = 1 if port or len(places) == 1 else _ATTEMPTS
    for attempt in range(1, attempts + 1):
        try:
            return _bind_all(places, port, shared=shared)
        except OSError as error:
            # The port that was free at one address may be taken at another one.
            if attempt == attempts or error.errno != errno.EADDRINUSE:
                raise
    raise AssertionError("there is at least one attempt")


def _bind_all(places: list[tuple[int, str]], port: int, *, shared: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    with ExitStack() as stack:
        for family, name in places:
            try:
                bound = _bind(family, name, port, shared=shared)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                missing = error
                continue
            sockets.append(stack.enter_context(bound))
            port = bound.getsockname()[1]
        if not sockets:
            raise missing
        stack.pop_all()
    return sockets


def _bind(family: int, name: str, port: int, *, shared: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(name != "::"))
        bound.bind((name, port))
    except BaseException:
        bound.close()
        raise
    return bound


async def _lock(directory: int) -> None:
    """Lock a directory. Raises OSError if another process keeps it for long."""
    until = asyncio.get_running_loop().time() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() >= until:
                raise OSError(errno.EAGAIN, "another process keeps the directory of the socket locked") from None
        await asyncio.sleep(_LOCK_PAUSE)


def _remove_dead_socket(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if _is_served(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "something that is not a socket is there")
    os.unlink(path)


def _is_served(path: str) -> bool:
    """Whether a server listens at a path. Raises OSError if nobody may know."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # So many wait to be accepted that there is no place for one more.
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:
                return True  # It is a socket of datagrams.
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return False
            raise
    return True
