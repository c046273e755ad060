"""Virtual environments with released software that the tests run unmodified.

Made when they are first needed, with pip, and kept in a cache directory: each has its own pins, which differ from ours.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("TEST_CACHE", Path(__file__).parents[2] / ".cache"))


def environment(folder: str, requirement: str) -> Path:
    """An environment, under a folder of the cache, with one package and what it needs; made if there is none yet."""
    path = CACHE / folder
    ready = path / ".ready"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed: other test processes wait here
        if not (ready.exists() and (path / "bin/python").exists()):
            shutil.rmtree(path, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", path], check=True)
            pip = [str(path / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, requirement], check=True)
            ready.touch()
    return path
