"""Clients of several gateways, who submit runs, follow them and fetch results, and go on over an outage.

What is refused meanwhile has to be refused in the one way that clients repeat: Unavailable or Overloaded, with a time.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple, Self, TypeVar

from gateway.core.errors import GatewayError, Overloaded, Unavailable
from gateway.core.model import Blob, BlobType, GetParams, ItemResult, RunState, SubmitParams
from tests.support.updates import Follower, GrpcFollower, JsonRpcFollower

_T = TypeVar("_T")

ITEMS: Final = 4
"""How many items each run has."""

PUT_AGAIN: Final = 0.2
"""For which part of the runs the flow is stored again."""

LONG: Final = 200_000
"""How many characters the results have that are longer than what goes through the engine."""


class Refused(NamedTuple):
    """A call that was refused: which, when, after how long, and the error."""

    call: str
    at: float
    seconds: float
    error: GatewayError


class Load:
    """Clients of gateways at these addresses, of gRPC and HTTP. `flows` are submitted in turn."""

    def __init__(self, grpc: Sequence[str], http: Sequence[str], flows: Sequence[Any]) -> None:
        self.refused: list[Refused] = []
        self.answered: list[tuple[str, float, float]] = []
        """The other calls: which, when they ended, and after how long."""
        self.ended: list[float] = []
        """When clients have had all of a run."""
        self._clients: list[Follower] = [*map(GrpcFollower, grpc), *map(JsonRpcFollower, http)]
        self._texts = list(map(json.dumps, flows))
        self._flow_ids: dict[str, str] = {}
        self._enough = asyncio.Event()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.close()

    def stop(self) -> None:
        """Begin no more runs."""
        self._enough.set()

    async def ends(self, number: int, since: float = 0.0) -> float:
        """Wait until so many runs have ended since a time, and have been fetched; the time of the last of them."""
        async with self._changed:
            await self._changed.wait_for(lambda: sum(at > since for at in self.ended) >= number)
        return [at for at in self.ended if at > since][number - 1]

    def answered_since(self, at: float) -> float:
        """When the last of the calls was answered that had begun before a time; the time if there was none."""
        return max((ended for _, ended, seconds in self.answered if ended - seconds < at), default=at)

    def told(self, began: float) -> list[str]:
        """For people: what was refused, and how long calls took at most."""
        lines = [
            f"{name}: at most {max(seconds for each, _, seconds in self.answered if each == name):.1f} s"
            for name in sorted({name for name, *_ in self.answered})
        ]
        for (name, text), number in Counter((each.call, str(each.error)) for each in self.refused).items():
            some = [each for each in self.refused if (each.call, str(each.error)) == (name, text)]
            last, longest = max(each.at for each in some) - began, max(each.seconds for each in some)
            lines.append(f"{name}: {text}: {number} times, until {last:.1f} s, after {longest:.1f} s at most")
        return lines

    async def go_on(self, name: str) -> None:
        """Be one client, until there are to be no more runs. AssertionError if anything is not as it is to be."""
        numbers = random.Random(name)
        number = 0
        while not self._enough.is_set():
            number += 1
            await self._one(numbers, f"{name}-{number}", self._texts[number % len(self._texts)])

    async def _one(self, numbers: random.Random, key: str, flow: str) -> None:
        """One run, from its flow to all of its results."""
        blob = Blob(flow, BlobType.FLOW)
        flow_id = self._flow_ids.get(flow)
        if flow_id is None or numbers.random() < PUT_AGAIN:
            flow_id = await self._patiently("put", lambda: numbers.choice(self._clients).put_blob(blob))
            self._flow_ids[flow] = flow_id
        inputs = [json.dumps({"key": key, "item": item}) for item in range(ITEMS)]
        params = SubmitParams(flow_id=flow_id, inputs=inputs, idempotency_key=key)
        run = await self._patiently("submit", lambda: numbers.choice(self._clients).submit(params))
        told = await self._followed(numbers, run.run_id)
        wanted = GetParams(run_id=run.run_id, include_results=True)
        final = await self._patiently("get", lambda: numbers.choice(self._clients).get(wanted))
        results = sorted(told, key=lambda result: result.item_index)
        failures = [result.error for result in results if result.error is not None]
        assert not failures, failures[:3]
        assert (final.status, final.items.success) == (RunState.SUCCESS, ITEMS)
        assert final.results == results
        assert [json.loads(result.value or "")["item"] for result in results] == list(range(ITEMS))
        async with self._changed:
            self.ended.append(time.monotonic())
            self._changed.notify_all()

    async def _followed(self, numbers: random.Random, run_id: str) -> list[ItemResult]:
        """Follow a run to its end, at any gateways, each going on where the one before has been; its results."""
        results: list[ItemResult] = []
        token = b""
        kind = numbers.choice((GrpcFollower, JsonRpcFollower))
        clients = [client for client in self._clients if isinstance(client, kind)]

        async def follow() -> None:
            nonlocal token
            client = numbers.choice(clients)
            params = GetParams(run_id=run_id, include_results=True, resume_token=token)
            async with aclosing(client.updates(params)) as updates:
                async for update in updates:
                    assert not update.restarted
                    results.extend(update.status.results or ())
                    token = update.token

        await self._patiently("follow", follow)
        return results

    async def _patiently(self, name: str, call: Callable[[], Awaitable[_T]]) -> _T:
        """Make a call, again and again until it is not refused."""
        while True:
            began = time.monotonic()
            try:
                answer = await call()
            except (Unavailable, Overloaded) as error:
                now = time.monotonic()
                self.refused.append(Refused(name, now, now - began, error))
                pause = error.retry_after
            else:
                now = time.monotonic()
                self.answered.append((name, now, now - began))
                return answer
            assert pause is not None, "who may not call now is told when"
            await asyncio.sleep(pause)
