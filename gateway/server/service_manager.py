"""Tells the service manager that has started this process, such as systemd, how it does: the protocol `sd_notify`.

`NOTIFY_SOCKET` names a socket that takes datagrams, and `WATCHDOG_USEC` the time within which the manager wants to hear
of a process again. Without the first, nothing is told.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

_log = logging.getLogger(__name__)

_SECONDS: Final = 2.0
"""How long a manager may take to have room for a datagram."""

_LONGEST_WAIT: Final = 3600.0
"""Seconds between two signs of life at most."""


@asynccontextmanager
async def told_to_service_manager(environment: Mapping[str, str], status: str) -> AsyncIterator[None]:
    """Tell the service manager that this process is ready, that it lives, and when the block is left that it stops.

    `status` is a line for people, which `systemctl status` shows. A manager that cannot be told is in the log, and the
    block is executed all the same. The signs of life are given by the event loop: they are missing if it is stuck.
    """
    place = environment.get("NOTIFY_SOCKET", "")
    if not place:
        yield
        return
    await _tell(place, "READY=1", f"STATUS={' '.join(status.split())}")
    seconds = _watchdog_seconds(environment)
    signs = None if seconds is None else asyncio.create_task(_give_signs(place, min(seconds / 2, _LONGEST_WAIT)))
    try:
        yield
    finally:
        if signs is not None:
            signs.cancel()
        await _tell(place, "STOPPING=1", "STATUS=stopping")


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """The time within which the manager wants signs of life; None if it wants none of this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    # As many digits as the protocol has: Python refuses very long ones.
    return int(text) / 1e6 if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) > 0 else None


async def _give_signs(place: str, seconds: float) -> None:
    while True:
        await _tell(place, "WATCHDOG=1")
        await asyncio.sleep(seconds)


async def _tell(place: str, *lines: str) -> None:
    """Send a datagram; log why it could not be sent, if so."""
    # A name that begins with @ is in the abstract namespace of Linux.
    address = f"\0{place[1:]}" if place.startswith("@") else place
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(address)
            async with asyncio.timeout(_SECONDS):
                await asyncio.get_running_loop().sock_sendall(sender, "\n".join(lines).encode())
    except (OSError, TimeoutError, ValueError) as error:
        why = "it has no room" if isinstance(error, TimeoutError) else error
        _log.warning("the service manager could not be told %s: %s", lines[0], why)
