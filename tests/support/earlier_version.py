"""An earlier version of the gateway, from the history of the project: it runs beside the present one.

It stands for the release before, until there is one. It has the schema of the state before the present one, and runs on
the packages of this environment.
"""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

import pytest

from tests.support.environments import CACHE, locked
from tests.support.programs import program

PROJECT: Final = Path(__file__).parents[2]
COMMIT: Final = "812607f"
SCHEMA: Final = 6
"""That of the states that it writes."""


def launcher() -> tuple[str, ...]:
    """The command that runs it; arguments follow. Skips the test where the history is not, but not in CI."""
    folder = CACHE / "earlier-version" / COMMIT
    with locked(folder):
        if not folder.exists():
            new = folder.with_suffix(".new")
            with tarfile.open(fileobj=io.BytesIO(_archive())) as archive:
                archive.extractall(new, filter="data")
            new.rename(folder)
    # Without -P, what is in the working directory would count first.
    path = os.pathsep.join((str(folder), str(folder / "generated")))
    return ("/usr/bin/env", f"PYTHONPATH={path}", sys.executable, "-P", "-W", "ignore", "-m", "gateway")


def _archive() -> bytes:
    git = (program("git", "git"), "-C", str(PROJECT))
    done = subprocess.run([*git, "archive", COMMIT, "gateway", "generated"], check=False, capture_output=True)
    if done.returncode:
        shallow = subprocess.run([*git, "rev-parse", "--is-shallow-repository"], check=False, capture_output=True)
        assert "CI" not in os.environ or shallow.stdout == b"true\n", done.stderr.decode()
        pytest.skip("the history of the project is not here")
    return done.stdout
