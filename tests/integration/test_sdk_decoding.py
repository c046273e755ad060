"""Statuses with all of their members, as the real SDKs decode them in their component servers."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.adapter import jsonrpc
from gateway.adapter.status_to_json import run_status_to_json
from gateway.core.model import ItemError, ItemResult, ItemStatistics, RunState, RunStatus
from tests.support import sdk

DECODE = Path(__file__).parents[1] / "data/components/decode_answers.py"
NOW = 1_736_937_000_250_000_000
RUN_IDS = ["0190f2a4-0000-7000-8000-00000000000" + digit for digit in "123"]
MEMBERS = {"startedAt", "parentRunId", "rootRunId", "depth", "labels", "cancelReason", "expiresAt"}


def statuses() -> list[RunStatus]:
    """A run in each state, with every member that a status can have."""
    results = [
        ItemResult(item_index=0, status=RunState.SUCCESS, value="[1]", completed_at=NOW),
        ItemResult(item_index=1, status=RunState.FAILED, error=ItemError(code=-32100, message="no"), completed_at=NOW),
        ItemResult(item_index=2, status=RunState.CANCELLED, completed_at=NOW),
    ]
    return [
        RunStatus(
            run_id=RUN_IDS[0],
            flow_id="sha256:" + "0" * 64,
            flow_name="nightly",
            flow_label="label",
            status=state,
            items=ItemStatistics(total=3, success=1, failed=1, cancelled=1),
            created_at=NOW,
            completed_at=NOW if state.terminal else None,
            results=found,
            labels={"team": "a", "": "empty"},
            parent_run_id=RUN_IDS[1],
            root_run_id=RUN_IDS[2],
            depth=2,
            cancel_reason="too slow",
            started_at=NOW,
            expires_at=NOW,
        )
        for state in RunState
        for found in (None, [], results)
    ]


@pytest.mark.parametrize("version", sdk.VERSIONS)
async def test_sdks_decode_statuses_with_all_members(sdk_python: Callable[[str], Path], version: str) -> None:
    answers = [run_status_to_json(status) for status in statuses()]
    assert json.loads(answers[0]).keys() > MEMBERS
    lines = [
        json.dumps({"method": method, "id": "1", "answer": jsonrpc.response('"1"', answer)})
        for answer in answers
        for method in ("runs/submit", "runs/get")
    ]
    decoded = await decode("\n".join(lines), sdk_python(version))
    assert len(decoded) == len(lines)
    for found, status in zip(decoded[::2], statuses(), strict=True):
        result: dict[str, Any] = found["result"]
        assert result["runId"] == status.run_id
        assert [entry["itemIndex"] for entry in result.get("results") or []] == [
            entry.item_index for entry in status.results or []
        ]


async def decode(lines: str, python: Path) -> list[dict[str, Any]]:
    """What the SDK makes of the answers."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(python, DECODE, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await process.communicate(lines.encode())
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.splitlines()]
