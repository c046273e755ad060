"""How much memory this process may use: what the machine has, or less where a control group bounds it."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.core.sizes import size_text

CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")
OWN_GROUP: Final = Path("/proc/self/cgroup")

_log = logging.getLogger(__name__)


def machine_memory(groups: Path = CONTROL_GROUPS, own_group: Path = OWN_GROUP) -> int:
    """The memory that this process may use, in bytes. `groups` and `own_group` are where Linux tells of limits."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min((total, *_limits(groups, own_group)))


def warn_if_beyond(size: int) -> None:
    """Warn in the log if a limit of memory is more than this process may use: it would be killed first."""
    available = machine_memory()
    if size > available:
        _log.warning(
            "--max-memory is %s, and there are %s: the system ends the gateway before the limit bounds it",
            size_text(size),
            size_text(available),
        )


def _limits(groups: Path, own_group: Path) -> Iterator[int]:
    """The limits of the process's control group, and of those around it: each of them bounds the process."""
    name = _read(own_group).rpartition("::")[2].strip("/\n")
    group = groups / name
    for directory in (group, *group.parents):
        if directory.is_relative_to(groups):
            limit = _read(directory / "memory.max").strip()
            if limit.isdecimal():  # No limit is the word `max`.
                yield int(limit)


def _read(file: Path) -> str:
    """The text of a file; "" if it cannot be read."""
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
