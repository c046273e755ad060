"""A process that a command of the shell starts in the background."""

import os
import select
from pathlib import Path
from typing import Final

LONG: Final = 600
"""More seconds than a test may take."""


class BackgroundProcess:
    def __init__(self, folder: Path, *, outside: bool = False) -> None:
        """`outside`: in a session of its own."""
        self._pipe = folder / "pid"
        os.mkfifo(self._pipe)
        # It tells its number when it is there.
        process = f"sh -c 'echo $$ >{self._pipe}; exec sleep {LONG}'"
        self.starts_it = f"setsid {process} &" if outside else f"{process} &"

    def started(self) -> int:
        """Wait for it, and return a descriptor of it."""
        return os.pidfd_open(int(self._pipe.read_text()))


def has_ended(descriptor: int, seconds: float) -> bool:
    """Whether a process ends within so many seconds."""
    return bool(select.select([descriptor], [], [], seconds)[0])
