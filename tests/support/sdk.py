"""Virtual environments with the released Stepflow SDKs, whose component servers the tests run unmodified.

Made when they are first needed, with pip, and kept in a cache directory: each has its own pins, which differ from ours.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("0.11.2", "0.10.0", "0.9.2")
"""The last release of each dialect."""

SERVER = Path(__file__).parents[1] / "data/components/sdk_server.py"
"""A component server that runs on all of them."""

_CACHE = Path(os.environ.get("SDK_CACHE", Path(__file__).parents[2] / ".cache/sdk"))


def interpreter(version: str) -> Path:
    """The Python interpreter of an environment with this version of the SDK; made if there is none yet."""
    environment = _CACHE / version
    python = environment / "bin/python"
    ready = environment / ".ready"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed: other test processes wait here
        if not (ready.exists() and python.exists()):
            shutil.rmtree(environment, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, f"stepflow-py[http]=={version}"], check=True)
            ready.touch()
    return python
