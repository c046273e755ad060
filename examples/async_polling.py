"""Asynchronous execution: submit a long run, do other work, follow the run instead of polling it.

runs-gateway serve --component /demo="python3 examples/components_server.py"
python3 examples/async_polling.py
"""

import asyncio
import os
from contextlib import aclosing
from typing import Any

from gateway.client import AsyncRunsClient

RESIZE = {
    "name": "Resize a photo",
    "steps": [{"id": "resize", "component": "/demo/resize", "input": {"$input": "$"}}],
    "output": {"$step": "resize"},
}
PHOTO = {"name": "moon", "width": 2048, "height": 2048}


async def process(client: AsyncRunsClient, flow_id: str, data: Any) -> Any:
    """Submit without waiting, do other work, then return the result."""
    run = await client.submit(flow_id, [data])
    await do_other_work()
    # The gateway pushes each change. The client survives lost connections and restarts of the gateway.
    async with aclosing(client.watch(run.run_id)) as updates:
        async for update in updates:
            print(f"{update.run.status}: {update.run.items.success} of {update.run.items.total}")
    final = await client.get(run.run_id, include_results=True)
    assert final.results is not None
    return final.results[0].value


async def do_other_work() -> None:
    """Do work that does not need the result."""
    await asyncio.sleep(0)


async def main() -> None:
    """Print the thumbnail."""
    async with AsyncRunsClient(os.environ.get("RUNS_GATEWAY_ADDRESS", "127.0.0.1:50051")) as client:
        thumbnail = await process(client, await client.put_flow(RESIZE), PHOTO)
    print(f"{thumbnail['name']}: {thumbnail['width']} x {thumbnail['height']}")


if __name__ == "__main__":
    asyncio.run(main())
