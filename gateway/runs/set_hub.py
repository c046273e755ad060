"""The hub of sets: one watch of a set in the runtime for any number of followers."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from gateway.concurrency.memory_account import MemoryPart
from gateway.concurrency.paced_calls import PacedCalls
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import InvalidParams, shutting_down
from gateway.core.run_sets import SetParams
from gateway.core.runtime import Runtime
from gateway.runs.set_follower import FollowerParts, SetFollower
from gateway.runs.set_topic import SetTopic
from gateway.runs.shared_reads import SharedReads
from gateway.telemetry.gateway_metrics import FOLLOWED_SETS

RINGS_FRACTION: Final = 1 / 16
"""The part of the account of memory that the rings of all sets may take together."""

_topics = FOLLOWED_SETS.labels()


class SetHub:
    """Watches each set once for all of its followers, and for `grace` seconds after the last one has left.

    The rings of its sets are counted in `memory`.
    """

    def __init__(
        self, runtime: Runtime, reads: SharedReads, memory: MemoryPart, wakes: PacedCalls, *, grace: float
    ) -> None:
        self._runtime = runtime
        self._reads = reads
        self._memory = memory
        self._wakes = wakes
        self._grace = grace
        self._topics: dict[bytes, SetTopic] = {}
        self._leaving: dict[bytes, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many sets are watched."""
        return len(self._topics)

    def follow(
        self, params: SetParams, on_change: Callable[[], None] | None = None, *, counted: bool = True
    ) -> SetFollower:
        """Follow a set, until the follower is closed. Raises Unavailable if the hub has been closed."""
        if self._closed:
            raise shutting_down()
        if params.only_new and params.resume_token:
            raise InvalidParams.field("only_new", description="only without a token")
        key = params.filter.digest()
        topic = self._topics.get(key)
        if topic is None:
            topic = SetTopic(self._runtime, params.filter, self._memory, self._wakes, lambda: self._remove(key))
            self._topics[key] = topic
            _topics.value += 1
            self._own(topic.task)
        if (leaving := self._leaving.pop(key, None)) is not None:
            leaving.cancel()
        # Made for each: a hub that held methods of its own would have to wait for the collector when it is let go.
        parts = FollowerParts(self._runtime, self._reads, self._leave, self._own)
        follower = SetFollower(parts, topic, params, on_change, counted=counted)
        topic.followers[follower] = None
        return follower

    async def close(self) -> None:
        """Stop watching: all followers get Unavailable."""
        self._closed = True
        for leaving in self._leaving.values():
            leaving.cancel()
        for topic in list(self._topics.values()):
            topic.fail(shutting_down())
            topic.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        _topics.value -= len(self._topics)
        self._topics.clear()

    def _own(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(retrieve_exception)

    def _leave(self, follower: SetFollower) -> None:
        topic, key = follower.topic, follower.topic.wanted.digest()
        topic.followers.pop(follower, None)
        if topic.followers or self._topics.get(key) is not topic:
            return
        if self._closed or not self._grace or topic.failure is not None:
            self._remove(key)
        else:
            self._leaving[key] = asyncio.get_running_loop().call_later(self._grace, self._remove, key)

    def _remove(self, key: bytes) -> None:
        """Let the next follower of this set begin anew."""
        self._leaving.pop(key, None)
        topic = self._topics.pop(key, None)
        if topic is not None:
            _topics.value -= 1
            topic.close()
