"""Programs that a machine may lack: tests that need one are skipped there, but never in CI."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of an installed program. Skips the test if it is not installed; in CI the test fails.

    `package` is the package of Debian that has it.
    """
    path = shutil.which(name)
    if path is None:
        missing = f"{name} was not found; on Debian: apt install {package}"
        assert "CI" not in os.environ, missing
        pytest.skip(missing)
    return path
