"""A backup of a gateway at work, and another gateway that goes on from it."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from gateway.client import AsyncRunsClient, RunState
from tests.support.command_line import CommandLine, finish
from tests.support.held_component import HELD, HeldComponent

ITEMS = 6


async def test_a_gateway_goes_on_from_a_backup_of_another_one(tmp_path: Path) -> None:
    command, held, copy = CommandLine(tmp_path), HeldComponent(), tmp_path / "restored.db"
    async with asyncio.timeout(100), held.server.running():
        component = ("--component", f"/test={held.server.url}")
        async with command.serving("--state", f"{tmp_path}/runs.db", *component) as lost:
            async with AsyncRunsClient(lost.grpc, retry_for=0) as client:
                flow = await client.put_flow(HELD)
                run = await client.submit(flow, range(ITEMS), idempotency_key="nightly")
                held.release(0, 1)
                async with aclosing(client.watch(run.run_id)) as updates:
                    async for update in updates:
                        if update.run.items.success == 2:
                            break
                await command.output("backup", str(copy), "--state", f"{tmp_path}/runs.db")
                later = await client.submit(flow, [9], idempotency_key="later")
                held.release(2)
            lost.process.kill()
            await finish(lost.process)
        anew = command.serving("--state", str(copy), *component)
        async with anew as restored, AsyncRunsClient(restored.grpc, retry_for=0) as client:
            # What was acknowledged before the backup is there, with its key; what came later is a new run.
            assert (await client.submit(flow, range(ITEMS), idempotency_key="nightly")).run_id == run.run_id
            held.release(*range(ITEMS), 9)
            ended = await client.wait(run.run_id, include_results=True)
            assert ended.status is RunState.SUCCESS
            assert [result.value for result in ended.results or ()] == [*range(ITEMS)]
            again = await client.submit_and_wait(flow, [9], idempotency_key="later")
            assert again.run_id != later.run_id
