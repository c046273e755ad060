"""Run as a script: turns its process into a command that dies with the process that started it.

    python die_with_parent.py PARENT_PID PROGRAM ARGUMENT...

Otherwise a gateway that is killed would leave its component servers behind. Linux only.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    # As it was given: the interpreter adds a locale to its own.
    given = Path("/proc/self/environ").read_bytes().split(b"\0")
    environment = dict(entry.split(b"=", 1) for entry in given if b"=" in entry)
    try:
        os.execve(command[0], command, environment)
    except OSError as error:
        sys.exit(f"cannot be executed: {error.strerror}")


if __name__ == "__main__":
    main()
