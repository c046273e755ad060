"""The link of a worker that follows runs, and no worker around it: what is measured is the other end of the link."""

import argparse
import asyncio
from contextlib import aclosing

import uvloop

from benchmarks.control import Pacer, obey, tell
from benchmarks.sample import run_id
from gateway.runtimes.relay.link import Link


class LinkedFollower:
    """Follows runs over one link, and counts their states."""

    def __init__(self) -> None:
        self.updates = 0
        self._link = Link(_nothing)

    async def follow(self, path: str, runs: int) -> None:
        """Follow so many runs until cancelled. Raises OSError if nothing listens at the path."""
        await self._link.connect(path)
        tell(grpc=path)
        async with asyncio.TaskGroup() as group:
            for number in range(runs):
                group.create_task(self._count(run_id(number)))

    async def _count(self, run: str) -> None:
        async with aclosing(self._link.states(run)) as states:
            async for _ in states:
                self.updates += 1


def _nothing() -> None:
    """Nothing changes here, and a lost link ends the streams."""


async def serve(path: str, runs: int) -> None:
    """Follow until standard input ends."""
    follower = LinkedFollower()
    following = asyncio.create_task(follower.follow(path, runs))
    try:
        await obey(Pacer(_nothing), lambda: {"updates": follower.updates})
    finally:
        following.cancel()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", required=True)
    parser.add_argument("--runs", type=int, required=True)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments.path, arguments.runs))


if __name__ == "__main__":
    main()
