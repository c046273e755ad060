"""Bodies of a Stepflow engine: recorded ones, and runs in both wire formats."""

import json
from pathlib import Path
from typing import Any

from gateway.runtimes.stepflow.wire_format import WireFormat

RECORDED = json.loads((Path(__file__).parents[1] / "data/stepflow/rest.json").read_text())
DIGEST = "9b16097c3d8baa5426b1a4f3dbe8e99a25e4b0eae0b606b7013b7171b8bd5b42"
RUN_ID = "01a20377-4792-7b82-a1a4-f86edb2cd473"
WIRE_FORMATS = {
    "0.10.0": WireFormat.LEGACY,
    "0.11.1": WireFormat.LEGACY,
    "0.12.0": WireFormat.PROTO_JSON,
    "0.13.0": WireFormat.PROTO_JSON,
}
RELEASES = list(WIRE_FORMATS)


def recorded(release: str, request: str, status: int = 200) -> list[tuple[Any, bytes]]:
    """The bodies of such requests, and of their answers."""
    return [
        (entry["body"], json.dumps(entry["response"]).encode())
        for entry in RECORDED[release]
        if entry["request"].startswith(request) and entry["status"] == status
    ]


def run_body(
    status: object, wire_format: WireFormat, results: list[dict[str, Any]] | None = None, **items: int
) -> bytes:
    summary = {
        "runId": RUN_ID,
        "flowId": DIGEST,
        "status": status,
        "items": items,
        "createdAt": "2026-11-22T13:34:38Z",
        "completedAt": "2026-11-22T13:34:39.5Z",
    }
    body = (
        {**summary, "results": results}
        if wire_format is WireFormat.LEGACY
        else {"summary": summary, "results": results}
    )
    return json.dumps(body).encode()
