"""Runs a program with the system calls alone that a unit of systemd permits: a program, for machines without systemd.

`python service_filter.py CALLS PROGRAM [ARGUMENT...]`, where `CALLS` are names with commas in between. It stands for
`SystemCallFilter=` with `SystemCallErrorNumber=EPERM`, `MemoryDenyWriteExecute=`, `RestrictAddressFamilies=` of the
internet and of unix sockets, `RestrictNamespaces=`, `RestrictRealtime=` and `NoNewPrivileges=`.
"""

import errno
import importlib
import mmap
import os
import socket
import sys
from typing import Any, Final

SHM_EXEC: Final = 0o100000
NEW_NAMESPACES: Final = 0x7E020080
"""All flags of `clone` that make namespaces, but for that of the time, which only `clone3` takes."""

SCHEDULERS: Final = (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE) if sys.platform == "linux" else ()


def main() -> None:
    calls, program, *arguments = sys.argv[1:]
    rules: Any = importlib.import_module("pyseccomp")  # It has no types, and is in another environment.
    restrict(rules, {*calls.split(",")})
    os.execv(program, [program, *arguments])


def restrict(rules: Any, calls: set[str]) -> None:
    """Permit these system calls, and of some of them only what is harmless."""

    def masked(argument: int, mask: int, value: int) -> Any:
        return rules.Arg(argument, rules.MASKED_EQ, mask, value)

    def equal(argument: int, value: int) -> Any:
        return rules.Arg(argument, rules.EQ, value)

    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    arguments = {
        "mmap": [masked(2, both, value) for value in (0, mmap.PROT_WRITE, mmap.PROT_EXEC)],
        "mprotect": [masked(2, mmap.PROT_EXEC, 0)],
        "pkey_mprotect": [masked(2, mmap.PROT_EXEC, 0)],
        "shmat": [masked(2, SHM_EXEC, 0)],
        "socket": [equal(0, family) for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)],
        "clone": [masked(0, NEW_NAMESPACES, 0)],
        "sched_setscheduler": [equal(1, policy) for policy in SCHEDULERS],
    }
    wanted = rules.SyscallFilter(rules.ERRNO(errno.EPERM))
    for call in sorted(calls - {"unshare", "setns", "clone3"}):
        if rules.resolve_syscall(rules.system_arch(), call) < 0:
            continue  # It is one of other processors.
        for argument in arguments.get(call, [None]):
            wanted.add_rule(rules.ALLOW, call, *([] if argument is None else [argument]))
    # The C library then takes `clone`, whose flags can be looked at.
    wanted.add_rule(rules.ERRNO(errno.ENOSYS), "clone3")
    wanted.load()


if __name__ == "__main__":
    main()
