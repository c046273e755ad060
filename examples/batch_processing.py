"""Batch processing: run a flow for a batch, take each result as it comes, and handle the items that fail.

runs-gateway serve --component /demo="python3 examples/components_server.py"
python3 examples/batch_processing.py
"""

import os
from collections.abc import Iterable
from typing import Any

from gateway.client import ResultOrder, RunsClient, RunState

RESIZE = {
    "name": "Resize a photo",
    "steps": [{"id": "resize", "component": "/demo/resize", "input": {"$input": "$"}}],
    "output": {"$step": "resize"},
}
BATCH = [
    {"name": "roses", "width": 1920, "height": 1080},
    {"name": "lens cap", "width": 0, "height": 0},
    {"name": "pond", "width": 5472, "height": 3648},
]


def process(client: RunsClient, flow_id: str, batch: Iterable[Any]) -> tuple[int, int]:
    """Run the batch, ten items at a time, and return how many succeeded and how many failed."""
    # The batch may be an iterator over any number of items: they are sent while they are produced.
    run = client.submit_stream(flow_id, batch, max_concurrency=10)
    for result in client.results(run.run_id, order=ResultOrder.BY_COMPLETION):
        if result.status is RunState.SUCCESS:
            print(f"item {result.item_index}: {result.value}")
        elif result.error is not None:
            print(f"item {result.item_index} failed: {result.error.message} ({result.error.code})")
    items = client.get(run.run_id).items
    return items.success, items.failed


def main() -> None:
    """Process the batch and print the counts."""
    with RunsClient(os.environ.get("RUNS_GATEWAY_ADDRESS", "127.0.0.1:50051")) as client:
        processed, failed = process(client, client.put_flow(RESIZE), iter(BATCH))
    print(f"{processed} processed, {failed} failed")


if __name__ == "__main__":
    main()
