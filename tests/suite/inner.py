"""Runs tests that are meant to fail or hang, in a pytest of their own."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PLUGINS = ("tests.support.session", "tests.support.time_limit", "tests.support.properties", "tests.support.measured")
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = -p no:cacheprovider
"""

# Not a function that the child calls before it becomes pytest: that would be a fork, which gRPC does not survive.
BECOME_PYTHON = """
import os, sys
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Inner:
    """A folder of tests, and how pytest ended on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "pytest.ini").write_text(SETTINGS)

    def write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    async def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        shell: str = "",
        stdin: int = asyncio.subprocess.DEVNULL,
    ) -> str:
        """Run them; what pytest printed. `shell` is a program that sets what a shell would have set."""
        plugins = [part for plugin in PLUGINS for part in ("-p", plugin)]
        settings = ("--rootdir", str(self._folder), "-c", str(self._folder / "pytest.ini"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *(["-c", shell + BECOME_PYTHON] if shell else [])),
            *("-m", "pytest", *settings, *plugins, *arguments, str(self._folder)),
            cwd=PROJECT,
            env={"PATH": os.defpath, "PYTHONPATH": f"{PROJECT}", **(environment or {})},
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return out.decode()
