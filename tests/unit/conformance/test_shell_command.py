"""Commands of the shell whose output is read, and what holds that open."""

import asyncio
import gc
import os
import signal
from asyncio.subprocess import PIPE
from pathlib import Path

from gateway.conformance.shell_command import shell_command
from tests.support.background_process import BackgroundProcess, has_ended


async def test_a_command_has_an_output_and_an_exit_code() -> None:
    async with shell_command("echo told; exit 3", stdout=PIPE) as running:
        assert running.output is not None
        assert (await running.output.read(), await running.exit_code()) == (b"told\n", 3)


def test_an_output_that_is_held_open_elsewhere_outlives_no_loop(tmp_path: Path) -> None:
    outside = BackgroundProcess(tmp_path, outside=True)

    async def leave_it() -> int:
        async with shell_command(outside.starts_it, stdout=PIPE) as running:
            descriptor = await asyncio.to_thread(outside.started)
            await running.exit_code()
            await running.end()
        return descriptor

    descriptor = asyncio.run(leave_it())
    try:
        # What is taken apart only now would look for its loop, and that is a warning.
        gc.collect()
        assert not has_ended(descriptor, 0.0)
    finally:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
