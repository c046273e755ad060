"""Runs tests that are meant to fail or hang, in a pytest of their own."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PLUGINS = ("tests.support.session", "tests.support.time_limit", "tests.support.properties")
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = -p no:cacheprovider
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
        inherits: Callable[[], object] | None = None,
        stdin: int = asyncio.subprocess.DEVNULL,
    ) -> str:
        """Run them; what pytest printed. `inherits` sets what a shell would have set."""
        plugins = [part for plugin in PLUGINS for part in ("-p", plugin)]
        settings = ("--rootdir", str(self._folder), "-c", str(self._folder / "pytest.ini"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", *settings, *plugins, *arguments, str(self._folder)),
            cwd=PROJECT,
            env={"PATH": os.defpath, "PYTHONPATH": f"{PROJECT}", **(environment or {})},
            preexec_fn=inherits,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            restore_signals=inherits is None,
        )
        out, _ = await process.communicate()
        return out.decode()


def ignore_signals() -> None:
    """As `nohup` and background jobs of scripts leave them."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
