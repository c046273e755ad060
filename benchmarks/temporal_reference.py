"""The bare SDK of Temporal: a workflow with one activity that gives its input back, and a client that waits for it."""

import asyncio
import json
import sys
import time
import uuid
from datetime import timedelta
from typing import Final

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.control import tell
from benchmarks.sample import INPUT

_QUEUE: Final = "bare"


@activity.defn
async def echo(text: str) -> str:
    """Give the input back."""
    return text


@workflow.defn(sandboxed=False)
class BareWorkflow:
    """One activity."""

    @workflow.run
    async def run(self, text: str) -> str:
        """Execute it."""
        return await workflow.execute_activity(echo, text, start_to_close_timeout=timedelta(seconds=60))


async def times(client: Client, concurrency: int, seconds: float) -> list[float]:
    """Execute workflows for so long, and return how many seconds each took."""
    found: list[float] = []
    end = time.perf_counter() + seconds

    async def one_after_the_other() -> None:
        while (begun := time.perf_counter()) < end:
            result = await client.execute_workflow(BareWorkflow.run, INPUT, id=str(uuid.uuid4()), task_queue=_QUEUE)
            assert result == INPUT
            found.append(time.perf_counter() - begun)

    await asyncio.gather(*(one_after_the_other() for _ in range(concurrency)))
    return found


async def main(target: str) -> None:
    """Measure when told so, until standard input ends."""
    client = await Client.connect(target)
    worker = Worker(
        client,
        task_queue=_QUEUE,
        workflows=[BareWorkflow],
        activities=[echo],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        tell(grpc=target)
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            tell(seconds=await times(client, command["concurrency"], command["seconds"]))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
