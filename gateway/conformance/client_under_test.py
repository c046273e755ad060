"""A client that the kit starts, for it to follow a run of the kit's own server."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from decimal import Decimal
from typing import Any

from gateway.conformance.promise import NotTried, PromiseBroken, same
from gateway.conformance.story import RUN_ID, Story
from gateway.conformance.story_server import StoryServer, serving

_MOST_OUTPUT = 16 << 20

_NO_SUCH_MODE = 64
"""The exit code of a program that does not know its arguments: EX_USAGE."""


class ClientUnderTest:
    """A command of the shell. A mode, the address of a server and the id of a run are added to it.

    It prints what has come of the run.
    """

    def __init__(self, command: str, patience: float) -> None:
        self._command = command
        self._patience = patience

    async def tells(self, story: Story) -> StoryServer:
        """Let it follow the run of a story. Raises PromiseBroken if it prints anything but the answer."""
        async with serving(story) as (address, server):
            printed = await self._run(f"{self._command} follow {address} {RUN_ID}")
        found, expected = _parsed(printed), _parsed(story.answer())
        # What is wrong most often is told in the fewest words.
        same(_indexes(found), _indexes(expected), "the items that have results, as the client prints them")
        same(found, expected, "what the client prints")
        return server

    async def misses(self, story: Story, run_id: str) -> tuple[str, int]:
        """What it prints when it follows a run that does not exist, and how often it asked for it."""
        async with serving(story) as (address, server):
            return await self._run(f"{self._command} follow {address} {run_id}"), server.missed

    async def _run(self, command: str) -> str:
        process = await asyncio.create_subprocess_shell(
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            # The shell and what it has started end together.
            start_new_session=True,
            limit=_MOST_OUTPUT,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._patience):
                printed = await process.stdout.read()
                code = await process.wait()
        except TimeoutError:
            raise PromiseBroken(f"the client has not ended within {self._patience:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if code == _NO_SUCH_MODE and not printed.strip():
            raise NotTried("the program has no such mode")
        if code in {126, 127}:
            raise NotTried(f"the command of the client cannot be run: exit code {code}")
        return printed.decode(errors="replace")


def _parsed(printed: str) -> Any:
    """The value that was printed, with exact numbers. Raises PromiseBroken if it is none."""
    try:
        return json.loads(printed, parse_float=Decimal)
    except ValueError:
        raise PromiseBroken(f"the client has not printed one JSON value: {printed[:200]!r}") from None


def _indexes(printed: Any) -> list[Any]:
    """The items that have results in what was printed. Raises PromiseBroken if there is no list of them."""
    results = printed.get("results") if isinstance(printed, dict) else None
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise PromiseBroken(f"the client has printed no list of results: {str(printed)[:200]!r}")
    return [result.get("itemIndex") for result in results]
