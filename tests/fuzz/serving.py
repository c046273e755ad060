"""A gateway in memory for the targets that call one. It is made anew now and then, since it keeps what it is given."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from gateway.components import Components
from gateway.core.model import Blob, BlobType, SubmitParams
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from tests.fuzz.bounded_loop import BoundedLoop

T = TypeVar("T")
CALLS: Final = 500
"""How many documents one gateway gets."""

FLOW: Final = '{"output":{"$input":"$"}}'
FLOW_ID: Final = "sha256:9bbf401eb63bce3d69f15032b71ce6ade4da410b65a712f35e00a81af80d40ce"


class ServedRuns:
    """The runs service over the embedded runtime, with a flow that returns its input, and a finished run of it."""

    async def start(self) -> None:
        """Open it."""
        self.components = Components({})
        self.runtime = await EmbeddedRuntime.open(":memory:", self.components)
        self.service = RunsService(self.runtime)
        await self.components.start(_unasked, None)
        await self.runtime.start(self.service)
        self.flow_id = await self.service.put_blob(Blob(FLOW, BlobType.FLOW))
        inputs = [str(index) for index in range(40)]
        run = await self.service.submit(SubmitParams(flow_id=self.flow_id, inputs=inputs, wait=True))
        self.run_id = run.run_id

    async def close(self) -> None:
        """Close it."""
        await self.service.close()
        await self.runtime.close()
        await self.components.close()


S = TypeVar("S", bound=ServedRuns)


class Renewed(Generic[S]):
    """Something that serves, and is made again after CALLS calls."""

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._calls = 0
        self._loop: BoundedLoop | None = None
        self._served: S | None = None

    def call(self, work: Callable[[S], Coroutine[Any, Any, T]]) -> T:
        """The result of some work with it, which must come within a bounded number of turns."""
        if self._loop is None or self._served is None:
            self._loop = BoundedLoop()
            asyncio.set_event_loop(self._loop)
            self._served = self._make()
            self._loop.result(self._served.start())
        self._calls += 1
        try:
            return self._loop.result(work(self._served))
        finally:
            if self._calls % CALLS == 0:
                self.close()

    def close(self) -> None:
        """End it."""
        if self._loop is not None and self._served is not None:
            self._loop.result(self._served.close())
            self._loop.result(_let_go())
            asyncio.set_event_loop(None)
            self._loop.close()
        self._loop = self._served = None


async def _let_go() -> None:
    """Let what was cancelled or closed end."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _unasked(body: bytes, scope: str) -> bytes | None:
    raise AssertionError("there are no components")
