"""The use cases of the specification, rewritten on the Python clients, as programs."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Start, command
from tests.support.command_line import finish

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("example", "lines"),
    [
        ("sub_workflow_orchestration.py", {"cranes: 320 x 240", "ferry: 320 x 213", "gulls: 240 x 320"}),
        (
            "batch_processing.py",
            {
                "item 0: {'name': 'roses', 'width': 320, 'height': 180}",
                "item 1 failed: lens cap has no picture (-32100)",
                "item 2: {'name': 'pond', 'width': 320, 'height': 213}",
                "2 processed, 1 failed",
            },
        ),
        ("async_polling.py", {"success: 1 of 1", "moon: 320 x 320"}),
    ],
)
async def test_an_example_runs(runtime_here: dict[str, Any], start: Start, example: str, lines: set[str]) -> None:
    gateway = await start(**runtime_here, components={"/demo": command(EXAMPLES / "components_server.py")})
    environment = {"RUNS_GATEWAY_ADDRESS": gateway.addresses.grpc, "PATH": os.defpath}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / example,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    finished = await finish(process)
    assert (finished.code, finished.err) == (0, "")
    assert lines <= set(finished.out.splitlines())
