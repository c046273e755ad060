"""The released Stepflow engines, run unmodified: each an orchestrator process on a port of loopback.

An engine listens on all interfaces and has no authentication, so it does not outlive its test.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.support.environments import environment

RELEASES = ("0.13.0", "0.12.0", "0.11.1", "0.10.0")
"""The last release of each series that the gateway supports, newest first."""

_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.01
_STOP_SECONDS: Final = 5.0
"""Less than fixtures have to end after the time limit of a test."""

_EXECUTES: Final = {"0.12.0": "Recovering pending runs"}
"""What a release logs when it can execute, if it tells its port before: a run that came in between would be a panic."""


def binary(release: str) -> Path:
    """The server program of a release."""
    packages = environment(f"engine/{release}", f"stepflow-orchestrator=={release}") / "lib"
    return next(packages.glob("python3*/site-packages/stepflow_orchestrator/bin/stepflow-server"))


class Engine:
    """One orchestrator. Stopped or killed, it can be started again, on the port that it had and with its state.

    `config` is the engine's own configuration: its `plugins`, `routes` and `storageConfig`. Without one it has the
    built-in components, and its state in memory.
    """

    def __init__(self, release: str, folder: Path, config: Mapping[str, Any] | None = None) -> None:
        self.release = release
        self.port = 0
        self.logs = folder / f"engine-{release}-{id(self):x}.logs"
        self._config = folder / f"engine-{release}-{id(self):x}.yml"
        self._config.write_text(json.dumps(config or builtin(release)))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it serves REST, and gRPC if it has it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def runtime(self) -> str:
        """What `--runtime` calls it."""
        return f"stepflow+{self.url}"

    async def start(self, *arguments: str) -> None:
        """Start it and wait until it serves."""
        starts = self._logged_starts()
        self._process = await asyncio.create_subprocess_exec(
            binary(self.release),
            "--port",
            str(self.port),
            "--config",
            str(self._config),
            "--log-destination",
            "file",
            "--log-file",
            str(self.logs),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env={},
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await self._process.stdout.readline()
            assert line, f"the engine has ended: see {self.logs}"
            self.port = json.loads(line)["port"]
            async with asyncio.timeout(_START_SECONDS):
                while self.release in _EXECUTES and self._logged_starts() == starts:  # noqa: ASYNC110 - a file
                    await asyncio.sleep(_POLL_SECONDS)
        except BaseException:
            await self.kill()
            raise

    def _logged_starts(self) -> int:
        """How often it has begun to execute, as far as its logs tell."""
        told = _EXECUTES.get(self.release, "")
        return sum(file.read_text().count(told) for file in self.logs.glob("*")) if told else 0

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """End it in an orderly way, or at once if it does not listen."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._process.wait()
        finally:
            await self.kill()


def builtin(release: str) -> dict[str, Any]:
    """The configuration of an engine that has the built-in components only."""
    return {
        "plugins": {"builtin": {"type": "builtin"}},
        "routes": {_route(release, "/builtin"): [{"plugin": "builtin"}]},
    }


def with_plugin(release: str, folder: Path, prefix: str, plugin: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the components of one more plugin below a prefix, and with state that survives the engine."""
    config = builtin(release)
    config["plugins"]["more"] = plugin
    config["routes"][_route(release, prefix)] = [{"plugin": "more"}]
    database = f"sqlite:{folder}/engine.db?mode=rwc"
    return {**config, "storageConfig": {"type": "sqlite", "databaseUrl": database, "autoMigrate": True}}


def _route(release: str, prefix: str) -> str:
    """0.13 writes routes in another way."""
    return prefix if release == "0.13.0" else f"{prefix}/{{*component}}"


BUILTIN: Final = builtin("0.13.0")
