"""Run as a script: keeps a command as its child, and ends it, with all that it has started, when the gateway ends.

    python keeper.py PARENT_PID DESCRIPTORS PROGRAM ARGUMENT...

The gateway holds the other end of the standard input, and sends nothing. When that end is closed, by the gateway or by
its death, everything is killed: the process group of the command, and on Linux also processes that have left it, since
those whose parents have ended become children of this process. SIGTERM is passed on, and ends the command in order.
This process ends with the status of the command. DESCRIPTORS is how many the command may have open.

A program of its own: a process that has used grpc cannot be forked, and one that is killed can end nothing.
"""

import ctypes
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

LIFELINE = 0
"""The descriptor that tells of the end of the gateway."""

LAST_LOOK = 0.01
"""Seconds between two looks at what is still there while everything is being killed: it may start more meanwhile."""

SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    """Start the command and stay until nothing of it is left."""
    parent, descriptors, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    # Event loops leave copies of the pipes: with them, the output would not end when the command closes it.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    for number in SIGNALS:
        signal.signal(number, _noted)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    this = os.getpid()
    child = os.fork()
    if not child:
        _become(command, this, descriptors)
    # The output ends with the processes that write it, and this one does not.
    nothing = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nothing, output)
    _end_as(_keep(child, woken))


def _noted(number: int, frame: object) -> None:
    """Leave a signal to the loop, which it wakes up."""


def _keep(child: int, woken: int) -> int:
    """Return the status of the command when everything has ended."""
    status: int | None = None
    ending = False
    while True:
        ready, _, _ = select.select([LIFELINE, woken], [], [])
        signals = os.read(woken, 512) if woken in ready else b""
        if signal.SIGTERM in signals or signal.SIGINT in signals:
            ending = True
            _send(child, signal.SIGTERM)
        found, any_left = _reaped(child)
        status = found if status is None else status
        # What is asked to end gets the time to do so. A command that ends by itself leaves nothing behind.
        if LIFELINE in ready or signal.SIGHUP in signals or (status is not None and not (ending and any_left)):
            break
    while any_left:
        _send(child, signal.SIGKILL)
        select.select([], [], [], LAST_LOOK)
        found, any_left = _reaped(child)
        status = found if status is None else status
    return 0 if status is None else status


def _reaped(child: int) -> tuple[int | None, bool]:
    """Let go of processes that have ended. Return the status of the command, if it has, and whether any are left."""
    status = None
    try:
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return status, True
            if pid == child:
                status = ended
    except ChildProcessError:
        return status, False


def _send(child: int, number: int) -> None:
    """Send a signal to the process group of the command, and to what has left the group."""
    _try(os.killpg, child, number)
    for process in _descendants(os.getpid()):
        try:
            outside = os.getpgid(process) != child
        except ProcessLookupError:
            continue
        if outside:
            _try(os.kill, process, number)


def _descendants(process: int) -> list[int]:
    """The processes below a process. Elsewhere than on Linux it is not known which these are."""
    found: list[int] = []
    pending = [process]
    while pending:
        parent = pending.pop()
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                children = [int(child) for child in thread.read_text().split()]
            except OSError:
                continue
            found += children
            pending += children
    return found


def _become(command: list[str], parent: int, descriptors: int) -> NoReturn:
    """Become the command, in a session of its own, with the environment as it was given."""
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), LIFELINE)
        signal.set_wakeup_fd(-1)
        # The interpreter ignores some signals, which the command would inherit.
        for number in (*SIGNALS, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        os.execve(command[0], command, _environment())
    except OSError as error:
        os.write(2, f"{command[0]} cannot be executed: {error.strerror}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def _environment() -> dict[bytes, bytes]:
    """The environment as it was given: the interpreter adds a locale to its own."""
    try:
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environb)
    pairs = (entry.partition(b"=") for entry in given if b"=" in entry)
    return {name: value for name, _, value in pairs}


def _end_as(status: int) -> NoReturn:
    """End as the command has ended: with its status, or by its signal, but without a core."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):  # SIGKILL cannot be set, and need not be.
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _try(send: Callable[[int, int], None], process: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        send(process, number)


if __name__ == "__main__":
    main()
