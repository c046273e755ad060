"""How many descriptors (files, sockets, pipes) this process may have open at the same time."""

import resource
from typing import Final

MAX_DESCRIPTORS: Final = 1 << 20
"""More are not asked for: some programs look at each descriptor that they could have."""

_INHERITED: Final = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as it can be allowed without privileges."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptor_limit() -> int:
    """How many descriptors this process may have."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def inherited_descriptor_limit() -> int:
    """The limit that this process was started with, for programs that it starts: some break with a higher one."""
    return _INHERITED
