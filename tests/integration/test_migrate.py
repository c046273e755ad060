"""The migration guide: its files and its commands, on the released engines and the released SDK."""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

from tests.support.engine import binary

pytestmark = pytest.mark.slow

GUIDE: Final = Path(__file__).parents[2] / "docs/migrate.md"

ENGINE: Final = "127.0.0.1:7840"
"""Where the guide has the engine; the tests have it elsewhere."""

SETTINGS: Final = {
    "STEPFLOW_PORT": "0",
    "STEPFLOW_LOG_DESTINATION": "file",
    "STEPFLOW_LOG_FILE": "engine.logs",
    "RUNS_GATEWAY_GRPC_ADDRESS": "127.0.0.1:0",
    "RUNS_GATEWAY_HTTP_ADDRESS": "127.0.0.1:0",
}
"""What programs are told that the guide starts on their default ports."""


RELEASES: Final = ("0.11.1", "0.13.0")
"""The engines that the sessions of the guide are about, in order."""


async def test_the_guide(tmp_path: Path, sdk_python: Callable[[str], Path]) -> None:
    releases, outputs = iter(RELEASES), []
    for name, text in blocks(GUIDE.read_text(encoding="utf-8")):
        if name:
            (tmp_path / name).write_text(text, encoding="utf-8")
            continue
        programs = [sdk_python("0.11.2").parent, binary(next(releases)).parent, Path(sys.executable).parent]
        async with Shell(tmp_path, programs) as shell:
            outputs.append([await shell.run(*command) for command in commands(text)])
    before, after = outputs
    assert [output for output in before if output] == [output for output in after if output]


class Shell:
    """Runs commands in a folder; those that go on in the background are ended with it, the last one first."""

    def __init__(self, folder: Path, programs: list[Path]) -> None:
        self._folder = folder
        self._environment = {
            **SETTINGS,
            "RUNS_GATEWAY_METRICS_ADDRESS": "off",
            "HOME": str(folder),
            "PATH": ":".join(map(str, [*programs, "/usr/bin", "/bin"])),
        }
        self._background: list[asyncio.subprocess.Process] = []
        self._engine = ENGINE

    async def __aenter__(self) -> "Shell":
        return self

    async def __aexit__(self, *exception: object) -> None:
        for process in reversed(self._background):
            with suppress(ProcessLookupError):
                process.terminate()
            await process.communicate()

    async def run(self, command: str, expected: str) -> str:
        """Run a command, which must print what is expected; what it has printed."""
        command = command.replace(ENGINE, self._engine)
        in_background = command.endswith("&")
        process = await asyncio.create_subprocess_shell(
            f"exec {command.removesuffix('&')}" if in_background else command,
            cwd=self._folder,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
        )
        if in_background:
            self._background.append(process)
            await self._ready(process)
            return ""
        output = (await process.communicate())[0].decode()
        assert (process.returncode, output) == (0, expected), command
        return output

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        """Read what a server prints until it is ready: its addresses."""
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode().strip()
            if text.startswith("{"):
                self._engine = f"127.0.0.1:{json.loads(text)['port']}"
                return
            if text == "ready":
                return
            name, _, value = text.partition(" ")
            if name == "gRPC":
                self._environment["RUNS_GATEWAY_ADDRESS"] = value.strip()
        raise AssertionError(f"has ended with {await process.wait()}")


def blocks(guide: str) -> Iterator[tuple[str, str]]:
    """The indented texts of the guide: files with the names that the lines before them give, and sessions without."""
    for match in re.finditer(r"(.*)\n\n((?:(?: {4}.*)?\n)+)", guide):
        text = dedent(match[2]).strip("\n") + "\n"
        if text.startswith("$ "):
            yield "", text
        elif text.strip():
            yield match[1].split("`")[1], text


def commands(session: str) -> Iterator[tuple[str, str]]:
    """The commands of a session, and what they print."""
    for entry in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, output = entry.partition("\n")
        yield command, output
