from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.fronts.grpc import GrpcFront, GrpcLimits
from gateway.fronts.grpc.server import Transport
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.grpc_calls import Client, Serve
from tests.support.scripted_runtime import ScriptedRuntime


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def service(runtime: ScriptedRuntime) -> AsyncIterator[RunsService]:
    service = RunsService(runtime, grace=0)
    yield service
    await service.close()


@pytest.fixture(params=["grpcio", "native"])
def transport(request: Any) -> Transport:
    """What the gRPC front is served on."""
    transport: Transport = request.param
    return transport


@pytest.fixture
async def serve(service: RunsService, transport: Transport) -> AsyncIterator[Serve]:
    """Start a gRPC front with the limits given, and a client of it."""
    closing: list[tuple[GrpcFront, Client]] = []

    async def start(limits: GrpcLimits | None = None, address: str = "127.0.0.1:0") -> tuple[GrpcFront, Client]:
        front = GrpcFront(RunsServices(service), address, limits=limits, transport=transport)
        await front.start()
        client = Client(front.address)
        closing.append((front, client))
        return front, client

    yield start
    for front, client in closing:
        await client.close()
        await front.stop(0)


@pytest.fixture
async def client(serve: Serve) -> Client:
    _, client = await serve()
    return client
