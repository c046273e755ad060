"""Single flight: work that many ask for at the same time is done once."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from gateway.concurrency.batches import call_in_batches
from gateway.concurrency.tasks import create_shared_task, retrieve_exception
from gateway.core.errors import shutting_down

K = TypeVar("K")
P = ParamSpec("P")
V = TypeVar("V")


class SingleFlight(Generic[K, P, V]):
    """Calls `work` once for all callers that ask for the same key while it runs; each gets what it returns or raises.

    The work goes on when its callers leave.
    """

    def __init__(self, work: Callable[Concatenate[K, P], Coroutine[Any, Any, V]]) -> None:
        self._work = work
        self._flights: dict[K, _Flight[V]] = {}

    def __contains__(self, key: K) -> bool:
        """Whether work with this key is under way."""
        return key in self._flights

    async def get(self, key: K, *args: P.args, **kwargs: P.kwargs) -> V:
        """The result of the work with this key and these arguments, or of that with the same key that is under way.

        Raises Unavailable if `close` has cancelled it.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(self._work(key, *args, **kwargs))
            flight.task.add_done_callback(partial(self._end, key))
        return await flight.result()

    async def close(self) -> None:
        """Cancel all work that is under way, and wait until it has ended."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, key: K, _: "asyncio.Task[V]") -> None:
        self._flights.pop(key).wake()


class _Flight(Generic[V]):
    """Work under way. Its callers are woken in batches: there may be thousands."""

    def __init__(self, work: Coroutine[Any, Any, V]) -> None:
        self._waiters: list[asyncio.Future[None]] = []
        self.task = create_shared_task(work)

    async def result(self) -> V:
        if not self.task.done():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self.task.cancelled():
            raise shutting_down()
        return self.task.result()

    def wake(self) -> None:
        retrieve_exception(self.task)
        call_in_batches(partial(_resolve, waiter) for waiter in self._waiters)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
