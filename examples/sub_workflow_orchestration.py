"""Sub-workflow orchestration: store a flow, run it for each of many items, use all results.

runs-gateway serve --component /demo="python3 examples/components_server.py"
python3 examples/sub_workflow_orchestration.py
"""

import asyncio
import os
from typing import Any

from gateway.client import AsyncRunsClient

RESIZE = {
    "name": "Resize a photo",
    "steps": [{"id": "resize", "component": "/demo/resize", "input": {"$input": "$"}}],
    "output": {"$step": "resize"},
}
PHOTOS = [
    {"name": "cranes", "width": 4032, "height": 3024},
    {"name": "ferry", "width": 6000, "height": 4000},
    {"name": "gulls", "width": 3024, "height": 4032},
]


async def orchestrate(client: AsyncRunsClient, photos: list[dict[str, Any]]) -> list[Any]:
    """Resize all photos by a run of their own, five at a time."""
    flow_id = await client.put_flow(RESIZE)
    run = await client.submit_and_wait(flow_id, photos, max_concurrency=5)
    return [result.value for result in run.results or []]


async def main() -> None:
    """Print the thumbnails."""
    async with AsyncRunsClient(os.environ.get("RUNS_GATEWAY_ADDRESS", "127.0.0.1:50051")) as client:
        for thumbnail in await orchestrate(client, PHOTOS):
            print(f"{thumbnail['name']}: {thumbnail['width']} x {thumbnail['height']}")


if __name__ == "__main__":
    asyncio.run(main())
