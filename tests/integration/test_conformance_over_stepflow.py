"""`runs-gateway conformance` on a gateway over a Stepflow engine: each promise that the engine allows is kept."""

import asyncio
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

from gateway.conformance.all_promises import PROMISES
from tests.support.command_line import CommandLine
from tests.support.engine import RELEASES
from tests.support.held_tasks import COMPONENT, HeldTasks, Task, engine_with_held_tasks
from tests.support.restarted_gateway import RestartedGateway

_ALL_AT_ONCE: Final = "the engine shows no result before the run has ended"
_DOUBLES: Final = "the engine holds doubles, and the gateway refuses what they do not hold"
_NO_LIMIT: Final = "the engine executes loops as often as they say, for half a minute"
_NO_DELETES: Final = "the engine deletes no runs"
_NO_SETS: Final = "the engine tells of no changes of runs that nobody asks for"
_LABELS: Final = "labels of a run are kept by the gateway that has submitted it"

NOT_KEPT: Final = {
    "get/long-*-stay-exact": _DOUBLES,
    "get/huge-numbers-stay-exact": _DOUBLES,
    "get/errors-have-their-data": _NO_LIMIT,
    "watch/payloads-are-those-of-get": _NO_LIMIT,
    "resume/deleted-runs-are-gone": _NO_DELETES,
    "open/followers-of-deleted-runs-are-told": _NO_DELETES,
    "open/results-wait-for-those-before": _ALL_AT_ONCE,
    "open/results-by-completion-wait-for-none": _ALL_AT_ONCE,
    "open/heartbeats-show-that-it-lives": _ALL_AT_ONCE,
    "set/*": _NO_SETS,
    "set-resume/*": _NO_SETS,
    "elsewhere/sets-*": _NO_SETS,
    "elsewhere/runs-go-on-at-another-server": _LABELS,
}
"""The promises that are not kept or cannot be tried, and why."""


class TimedTasks(HeldTasks):
    """Tasks that end by themselves when the time has passed that their input names."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: dict[str, asyncio.Task[None]] = {}

    async def came(self, name: str, task: Task) -> None:
        await super().came(name, task)
        if name not in self._ends:
            self._ends[name] = asyncio.create_task(self._end_in_time(name, task.input["milliseconds"] / 1_000))

    async def _end_in_time(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open.pop(name).end(True)

    async def close(self) -> None:
        """End no more tasks."""
        for end in self._ends.values():
            end.cancel()
        await asyncio.gather(*self._ends.values(), return_exceptions=True)


@pytest.mark.slow
async def test_a_gateway_over_stepflow(tmp_path: Path) -> None:
    names = [promise.name for promise in PROMISES]
    assert all(any(fnmatch(name, pattern) for name in names) for pattern in NOT_KEPT)
    kept = [name for name in names if not any(fnmatch(name, pattern) for pattern in NOT_KEPT)]
    tasks = TimedTasks()
    async with engine_with_held_tasks(RELEASES[0], tmp_path, tasks) as (engine, _):
        target = RestartedGateway(tmp_path / "target", "--runtime", engine.runtime)
        try:
            await asyncio.to_thread(target.start)
            options = ["--target", target.grpc, "--restart", target.restart_command, "--slow-component", COMPONENT]
            only = [argument for name in kept for argument in ("--only", name)]
            # With --strict, what is not tried counts as broken.
            done = await CommandLine(tmp_path).run("conformance", *options, "--patience", "60s", "--strict", *only)
        finally:
            await asyncio.to_thread(target.stop)
            await tasks.close()
    assert done.code == 0, done
    assert f"{len(kept)} promises: {len(kept)} kept" in done.out
