"""Virtual environments with released software that the tests run unmodified.

Made when they are first needed, with pip, and kept in a cache directory: each has its own pins, which differ from ours.
That takes minutes, so it is told on the terminal, and `python -m tests.support.environments` does it before the tests.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support import session, time_limit

CACHE = Path(os.environ.get("TEST_CACHE", Path(__file__).parents[2] / ".cache"))


def environment(folder: str, *requirements: str) -> Path:
    """An environment, under a folder of the cache, with packages and what they need; made if there is none yet."""
    path = CACHE / folder
    ready = path / ".ready"
    with locked(path):
        if not (ready.exists() and (path / "bin/python").exists()):
            session.say(f"setting up {', '.join(requirements)} in {path} ...")
            shutil.rmtree(path, ignore_errors=True)
            install(sys.executable, "-m", "venv", str(path))
            pip = (str(path / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            install(*pip, *requirements)
            ready.touch()
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time set up what belongs at this path. The time does not count as that of a test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with time_limit.suspended(), path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        yield


def install(*command: str) -> None:
    """Run a package manager, with the settings and proxies of the one who started the tests."""
    subprocess.run(command, check=True, env=session.started_with())
