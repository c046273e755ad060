"""A real gateway inside a test: `in_memory_gateway`."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, Final, Self

import uvloop

from gateway.client import AsyncRunsClient, RunsClient
from gateway.server.app import running
from gateway.server.listening import Addresses
from gateway.server.settings import ServeSettings
from gateway.testing.component_server import component_server
from gateway.testing.functions import ComponentFunction, Functions

_NO_COMPONENTS: Final[Mapping[str, ComponentFunction]] = MappingProxyType({})


def in_memory_gateway(components: Mapping[str, ComponentFunction] = _NO_COMPONENTS) -> "InMemoryGateway":
    """A gateway that runs while the block lasts, with its state in memory and on free ports of 127.0.0.1.

    `components` are Python functions by path: `{"/python/double": double}`. Raises ValueError if one is unusable.

    In `with`, the gateway has a thread and an event loop of its own, and serves clients of any kind. In `async with`,
    it shares the event loop, so that tests and `async` components can share events and queues; a client that blocks
    this event loop would wait for itself.

    When the block is left, everything that it has started has ended. Runs that still execute are abandoned.
    """
    return InMemoryGateway(components)


class InMemoryGateway:
    """A gateway in this process; see `in_memory_gateway`.

    It has addresses and clients inside its block only: elsewhere, they raise RuntimeError. Entering it while it runs
    raises RuntimeError; it may be entered again afterwards.
    """

    def __init__(self, components: Mapping[str, ComponentFunction]) -> None:
        self._functions = Functions(components)
        self._entered = threading.Lock()
        self._exits = ExitStack()
        self._async_exits = AsyncExitStack()
        self._addresses: Addresses | None = None

    @property
    def address(self) -> str:
        """Where the gateway serves gRPC, `HOST:PORT`."""
        return self._running.grpc

    @property
    def http_address(self) -> str:
        """Where the gateway serves JSON-RPC and the blob API, `HOST:PORT`."""
        return self._running.http

    @property
    def http_url(self) -> str:
        """The URL of the JSON-RPC methods."""
        return f"http://{self.http_address}/"

    def client(self, **options: Any) -> RunsClient:
        """A blocking client of this gateway, to be closed; `options` as for `RunsClient`."""
        return RunsClient(self.address, **options)

    def async_client(self, **options: Any) -> AsyncRunsClient:
        """An asyncio client of this gateway, to be closed; `options` as for `AsyncRunsClient`."""
        return AsyncRunsClient(self.address, **options)

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            exits.enter_context(self._once_at_a_time())
            self._addresses = exits.enter_context(_in_thread(lambda: _serving(self._functions)))
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            exits.enter_context(self._once_at_a_time())
            self._addresses = await exits.enter_async_context(_serving(self._functions))
            self._async_exits = exits.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._async_exits.aclose()

    @property
    def _running(self) -> Addresses:
        if self._addresses is None:
            raise RuntimeError("the gateway is not running: it runs inside its `with` or `async with` block")
        return self._addresses

    @contextmanager
    def _once_at_a_time(self) -> Iterator[None]:
        """Last from the start of the gateway to its end. Raises RuntimeError if it has not ended."""
        if not self._entered.acquire(blocking=False):
            raise RuntimeError("the gateway is running already: a second one is made by in_memory_gateway()")
        try:
            yield
        finally:
            self._addresses = None
            self._entered.release()


@asynccontextmanager
async def _serving(functions: Functions) -> AsyncIterator[Addresses]:
    """Keep a gateway running, with its component server beside it."""
    async with component_server(functions) as url:
        settings = ServeSettings(
            grpc_address="127.0.0.1:0",
            http_address="127.0.0.1:0",
            metrics_address="off",
            state=":memory:",
            components={"/": url},
        )
        async with running(settings) as addresses:
            yield addresses


@contextmanager
def _in_thread(serving: Callable[[], AbstractAsyncContextManager[Addresses]]) -> Iterator[Addresses]:
    """Keep something serving in a thread with an event loop of its own. Its errors are raised here."""
    started: Future[Addresses] = Future()
    stop: Future[None] = Future()

    async def serve() -> None:
        async with serving() as addresses:
            started.set_result(addresses)
            await asyncio.wrap_future(stop)

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    with ThreadPoolExecutor(1, thread_name_prefix="in-memory-gateway") as thread:
        ended = thread.submit(run)
        try:
            either: list[Future[Any]] = [started, ended]
            wait(either, return_when=FIRST_COMPLETED)
            if not started.done():
                ended.result()
            yield started.result()
        finally:
            stop.set_result(None)
        ended.result()
