"""A gateway that takes no calls of clients still serves what its component servers and its operators need."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.server.app import running
from gateway.server.listening import Addresses
from gateway.server.settings import ServeSettings


@pytest.fixture
async def addresses() -> AsyncIterator[Addresses]:
    settings = ServeSettings(
        http_address="127.0.0.1:0",
        grpc_address="127.0.0.1:1",  # nobody may listen there
        metrics_address="127.0.0.1:0",
        state=":memory:",
        gateway_roles=("worker",),
    )
    async with running(settings) as addresses:
        yield addresses


@pytest.fixture
async def http(addresses: Addresses) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{addresses.http}") as session:
        yield session


async def test_it_has_no_front_for_clients(addresses: Addresses, http: aiohttp.ClientSession) -> None:
    assert addresses.grpc == ""
    call = {"jsonrpc": "2.0", "id": 1, "method": "runs/list", "params": {}}
    for method, path in (("POST", "/"), ("GET", "/ui"), ("GET", "/ui/"), ("GET", "/overview")):
        async with http.request(method, path, json=call if method == "POST" else None) as response:
            assert response.status == 404, path


async def test_component_servers_find_blobs(http: aiohttp.ClientSession) -> None:
    body = {"data": {"a": 2**60 + 1}, "blobType": "data"}
    async with http.post("/api/v1/blobs", json=body) as response:
        blob_id = (await response.json())["blobId"]
    async with http.get(f"/api/v1/blobs/{blob_id}") as response:
        assert json.loads(await response.read())["data"] == body["data"]


async def test_health_and_metrics_stay(addresses: Addresses, http: aiohttp.ClientSession) -> None:
    for path in ("/health", "/livez", "/readyz", "/startupz"):
        async with http.get(path) as response:
            assert response.status == 200, path
    assert addresses.metrics is not None
    async with aiohttp.ClientSession() as session, session.get(addresses.metrics) as response:
        assert 'runs_gateway_http_connections{front="grpc"}' not in await response.text()
        assert response.status == 200
