"""Run as a script: turns its process into a command that dies with the process that started it.

    python die_with_parent.py PARENT_PID DESCRIPTORS PROGRAM ARGUMENT...

DESCRIPTORS is how many the command may have open, unless it is told otherwise.

Otherwise a gateway that is killed would leave its component servers behind. Linux only.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, descriptors, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    # As it was given: the interpreter adds a locale to its own.
    given = Path("/proc/self/environ").read_bytes().split(b"\0")
    environment = dict(entry.split(b"=", 1) for entry in given if b"=" in entry)
    try:
        os.execve(command[0], command, environment)
    except OSError as error:
        sys.exit(f"cannot be executed: {error.strerror}")


if __name__ == "__main__":
    main()
