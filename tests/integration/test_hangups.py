"""SIGHUP, which a closed terminal sends and who rotates logs: a gateway serves on, whatever its settings."""

import json
import os
import signal
from pathlib import Path

import grpc
import pytest

from runs.v1 import runs_pb2, runs_pb2_grpc
from tests.support.command_line import CommandLine

CALLS = 5


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("audited", [True, False], ids=["with an audit log", "without"])
async def test_a_hangup_ends_no_process(tmp_path: Path, workers: str, audited: bool) -> None:
    log = tmp_path / "audit.log"
    flags = ("--audit-log", str(log)) if audited else ()
    async with CommandLine(tmp_path).serving("--state", ":memory:", "--workers", workers, *flags) as gateway:
        number = gateway.process.pid
        processes = [number, *children(number)]
        assert len(processes) == (1 if workers == "1" else 3)
        async with grpc.aio.insecure_channel(gateway.grpc) as channel:
            runs = runs_pb2_grpc.RunsServiceStub(channel)
            for process in processes:
                os.kill(process, signal.SIGHUP)
                for _ in range(CALLS):
                    await runs.ListRuns(runs_pb2.ListRunsRequest())
            async for _ in runs.CancelRuns(runs_pb2.CancelRunsRequest(filter=runs_pb2.RunFilter(labels={"a": "b"}))):
                pass
        assert [number, *children(number)] == processes
        gateway.process.terminate()
        assert await gateway.process.wait() == 0, "it ends in order as ever"
    if audited:
        assert [json.loads(line)["method"] for line in log.read_text().splitlines()] == ["CancelRuns"]


def children(process: int) -> list[int]:
    """The processes that a process has started, in order."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    return sorted(int(child) for task in found for child in task.read_text().split())
