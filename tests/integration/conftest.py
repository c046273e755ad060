"""A whole gateway on real sockets, in this process, and a client for each of its fronts."""

import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.server.app import running
from gateway.server.listening import Addresses
from gateway.server.settings import ServeSettings
from tests.support.clients import Client, GrpcClient, JsonRpcClient
from tests.support.component_health import components_available
from tests.support.temporal_server import TemporalServer
from tests.support.web_packages import built_contract

DATA = Path(__file__).parent.parent / "data"
STATES = {"memory": ":memory:", "sqlite": "{tmp}/state.db"}
FRONTS = {"grpc": GrpcClient, "jsonrpc": JsonRpcClient}


class Gateway:
    """A running gateway and its clients. `stop` ends it before the test does."""

    def __init__(
        self, addresses: Addresses, grpc: GrpcClient, jsonrpc: JsonRpcClient, stop: Callable[[], Awaitable[None]]
    ) -> None:
        self.addresses = addresses
        self.grpc = grpc
        self.jsonrpc = jsonrpc
        self.stop = stop

    def client(self, front: str) -> Client:
        clients: dict[str, Client] = {"grpc": self.grpc, "jsonrpc": self.jsonrpc}
        return clients[front]


Start = Callable[..., Awaitable[Gateway]]
Join = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts gateways, with settings of `ServeSettings`; they stop with the test."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Gateway:
            defaults = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "state": ":memory:"}
            own = await stack.enter_async_context(AsyncExitStack())
            addresses = await own.enter_async_context(running(ServeSettings.model_validate({**defaults, **settings})))
            await components_available(addresses.grpc, settings.get("components", ()))
            grpc, jsonrpc = GrpcClient(addresses.grpc), JsonRpcClient(addresses.http)
            own.push_async_callback(grpc.close)
            own.push_async_callback(jsonrpc.close)
            return Gateway(addresses, grpc, jsonrpc, own.aclose)

        yield start


@pytest.fixture
async def join(start: Start, temporal_server: TemporalServer, tmp_path: Path) -> Join:
    """Starts gateways that share a namespace of the server and a storage."""
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")

    async def join(**settings: Any) -> Gateway:
        return await start(runtime=runtime, blobs=f"file://{tmp_path}/objects", metrics_address="off", **settings)

    (tmp_path / "objects").mkdir()
    return join


HERE = [pytest.param("embedded"), pytest.param("temporal", marks=pytest.mark.slow)]
"""The runtimes that execute items by the component servers of the gateway itself."""


@pytest.fixture(params=HERE)
def runtime_here(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The settings of a gateway over each of them, all state in a directory of the test, or in a namespace of it."""
    if request.param == "embedded":
        return {"state": str(tmp_path / "state.db")}
    server: TemporalServer = request.getfixturevalue("temporal_server")
    return {"runtime": server.runtime(f"test-{uuid.uuid4()}"), "blobs": f"file://{tmp_path}"}


@pytest.fixture(params=[*STATES, "relay"])
async def gateway(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Gateway:
    """A gateway over each state of the embedded runtime, and one that relays to another gateway."""
    if request.param == "relay":
        upstream = await start()
        return await start(runtime=f"grpc://{upstream.addresses.grpc}")
    return await start(state=STATES[request.param].format(tmp=tmp_path))


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contract as `buf build` writes it, for clients of npm."""
    return built_contract(tmp_path_factory.mktemp("contract"))


@pytest.fixture(params=FRONTS)
def client(request: pytest.FixtureRequest, gateway: Gateway) -> Client:
    """A client of each front of that gateway."""
    return gateway.client(request.param)


def command(script: Path, *arguments: str, python: str | Path = sys.executable) -> str:
    """A component route that starts a script."""
    return " ".join([str(python), str(script), *arguments])
