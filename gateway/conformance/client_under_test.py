"""A client that the kit starts, for it to follow runs of the kit's own server."""

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from gateway.conformance.kit_server import KitMethod, serving
from gateway.conformance.promise import NotTried, PromiseBroken, hold, same, shown
from gateway.conformance.set_story import SetStory
from gateway.conformance.set_story_server import SetStoryServer
from gateway.conformance.shell_command import shell_command
from gateway.conformance.story import CallPlan, Story
from gateway.conformance.story_server import StoryServer
from gateway.conformance.watch_story_server import WatchStoryServer

_MOST_OUTPUT = 16 << 20

_NO_SUCH_MODE = 64
"""The exit code of a program that does not know its arguments: EX_USAGE."""


class ClientUnderTest:
    """A command of the shell. A mode, the address of a server and ids of runs are added to it.

    It prints what has come of the runs. The methods raise PromiseBroken if it prints anything but that.
    """

    def __init__(self, command: str, patience: float) -> None:
        self._command = command
        self._patience = patience

    async def tells(self, story: Story) -> StoryServer:
        """Let it follow the run of a story."""
        server = StoryServer(story)
        found, expected = _parsed(await self._run("follow", server.method(), story.run_id)), _parsed(story.answer())
        # What is wrong most often is told in the fewest words.
        same(_indexes(found), _indexes(expected), "the items that have results, as the client prints them")
        same(found, expected, "what the client prints")
        return server

    async def misses(self, story: Story, run_id: str) -> tuple[str, int]:
        """What it prints when it follows a run that does not exist, and how often it asked for it."""
        server = StoryServer(story)
        return await self._run("follow", server.method(), run_id), server.missed

    async def tells_all(
        self, stories: Sequence[Story], *plans: CallPlan, missing: Sequence[str] = ()
    ) -> WatchStoryServer:
        """Let it follow the runs of stories on one stream, and some that do not exist."""
        server = WatchStoryServer(stories, plans)
        run_ids = [*(story.run_id for story in stories), *missing]
        found = _parsed(await self._run("watch", server.method(), *run_ids))
        expected = {story.run_id: _parsed(story.answer()) for story in stories}
        expected |= {run_id: {"error": "NOT_FOUND"} for run_id in missing}
        hold(isinstance(found, dict), f"the client has printed no object: {shown(found)}")
        same(sorted(found), sorted(expected), "the runs that the client prints")
        for story in stories:
            indexes = _indexes(expected[story.run_id])
            same(_indexes(found[story.run_id]), indexes, f"the items of {story.run_id}, as the client prints them")
        same(found, expected, "what the client prints")
        return server

    async def tells_set(self, story: SetStory, last: str) -> SetStoryServer:
        """Let it follow a set until a run has ended."""
        server = SetStoryServer(story)
        found = _parsed(await self._run("set", server.method(), last))
        same(found, story.answer(), "the runs of the set and their states, as the client prints them")
        return server

    async def _run(self, mode: str, method: KitMethod, *run_ids: str) -> str:
        async with serving(*method) as address:
            return await self._printed(f"{self._command} {mode} {address} {' '.join(run_ids)}")

    async def _printed(self, command: str) -> str:
        async with shell_command(command, stdout=asyncio.subprocess.PIPE) as running:
            assert running.output is not None
            try:
                async with asyncio.timeout(self._patience):
                    printed = await _all_of(running.output)
                    code = await running.exit_code()
            except TimeoutError:
                raise PromiseBroken(f"the client has not ended within {self._patience:g} s") from None
            finally:
                await running.end()
        if code == _NO_SUCH_MODE and not printed.strip():
            raise NotTried("the program has no such mode")
        if code in {126, 127}:
            raise NotTried(f"the command of the client cannot be run: exit code {code}")
        return printed.decode(errors="replace")


async def _all_of(output: asyncio.StreamReader) -> bytes:
    """What a client prints. Raises PromiseBroken if it is more than any answer has."""
    printed = bytearray()
    while part := await output.read(1 << 16):
        printed += part
        hold(len(printed) <= _MOST_OUTPUT, f"the client has printed more than {_MOST_OUTPUT} bytes")
    return bytes(printed)


def _parsed(printed: str) -> Any:
    """The value that was printed, with exact numbers. Raises PromiseBroken if it is none."""
    try:
        return json.loads(printed, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):  # Some numbers and depths cannot be held.
        raise PromiseBroken(f"the client has not printed one JSON value: {printed[:200]!r}") from None


def _indexes(printed: Any) -> list[Any]:
    """The items that have results in what was printed. Raises PromiseBroken if there is no list of them."""
    results = printed.get("results") if isinstance(printed, dict) else None
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise PromiseBroken(f"the client has printed no list of results: {shown(printed)}")
    return [result.get("itemIndex") for result in results]
