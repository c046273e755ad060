"""A worker as a program, beside a runtime in this process."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from gateway.access.capabilities import Capabilities
from gateway.server.settings import ServeSettings
from gateway.server.worker_pool import READY
from tests.support.command_line import finish
from tests.support.scripted_runtime import ScriptedRuntime
from tests.support.upstream import linked_upstream


async def test_a_worker_that_has_lost_its_link_ends(home: Path) -> None:
    async with linked_upstream(ScriptedRuntime(), home) as (upstream, link):
        settings = ServeSettings(runtime=upstream.address, grpc_address="127.0.0.1:0", http_address="127.0.0.1:0")
        program = (sys.executable, "-P", "-m", "gateway.server.worker_process")
        process = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        text = settings.model_dump_json(include={"runtime", "grpc_address", "http_address"})
        process.stdin.write(f"{text}\n{Capabilities.new_key().hex()}\n".encode())
        assert (await process.stdout.readline()).decode() == f"{READY}\n"
        await link.stop()
        code = await process.wait()
        ended = await finish(process)
    assert code == 1
    assert ended.err.count("\n") == 1
    assert "the link to the runtime of the gateway was lost" in ended.err
