"""The status of a run as the specification's document shows it, and variants of it."""

import json
from typing import Any

from gateway.adapter.status_from_json import run_status_from_json
from gateway.core.model import ItemResult, RunStatus

RUN_ID = "550e8400-e29b-41d4-a716-446655440000"
DOCUMENT_STATUS = {
    "runId": RUN_ID,
    "flowId": "sha256:abc123...",
    "flowName": "Data Processing Workflow",
    "status": "success",
    "items": {"total": 2, "pending": 0, "running": 0, "success": 2, "failed": 0, "cancelled": 0},
    "createdAt": "2025-01-15T10:30:00Z",
    "completedAt": "2025-01-15T10:30:05Z",
    "results": [
        {
            "itemIndex": 0,
            "result": {"outcome": "success", "value": {"processed": True}},
            "completedAt": "2025-01-15T10:30:03Z",
        },
        {
            "itemIndex": 1,
            "result": {"outcome": "success", "value": {"analyzed": True}},
            "completedAt": "2025-01-15T10:30:05Z",
        },
    ],
}


def status_from(**changes: Any) -> RunStatus:
    return run_status_from_json(json.dumps(DOCUMENT_STATUS | changes))


def result_from(**members: Any) -> ItemResult:
    results = status_from(results=[{"itemIndex": 0} | members]).results
    assert results is not None
    return results[0]
