"""Python functions behind the protocol of component servers."""

from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession

from gateway.testing.component_server import component_server
from gateway.testing.functions import Functions


async def asked(functions: Functions, method: str, params: dict[str, Any]) -> Any:
    """The response to a request."""
    async with component_server(functions) as url, ClientSession() as session:
        message = {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
        async with session.post(url, json=message) as response:
            return await response.json()


@pytest.mark.parametrize(
    ("method", "params", "result"),
    [
        ("initialize", {}, {"serverProtocolVersion": 1}),
        ("components/list", {}, {"components": [{"component": "/a"}, {"component": "/b/c"}]}),
        ("components/info", {"component": "/b/c"}, {"info": {"component": "/b/c"}}),
        ("components/execute", {"component": "/a", "input": [1], "attempt": 1, "observability": {}}, {"output": [1]}),
    ],
)
async def test_the_methods_of_the_protocol(method: str, params: dict[str, Any], result: Any) -> None:
    functions = Functions({"/a": lambda value: value, "/b/c": len})
    assert await asked(functions, method, params) == {"jsonrpc": "2.0", "id": "1", "result": result}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("components/info", {"component": "/b"}, -32001),
        ("components/execute", {"component": "/b"}, -32001),
        ("components/other", {}, -32601),
    ],
)
async def test_requests_that_are_refused(method: str, params: dict[str, Any], code: int) -> None:
    response = await asked(Functions({"/a": len}), method, params)
    assert (response["id"], response["error"]["code"]) == ("1", code)


async def test_notifications_are_accepted() -> None:
    async with component_server(Functions({})) as url, ClientSession() as session:
        message = {"jsonrpc": "2.0", "method": "initialized", "params": {}}
        async with session.post(url, json=message) as response:
            assert (response.status, await response.read()) == (202, b"")


async def test_nothing_listens_afterwards() -> None:
    async with component_server(Functions({})) as url:
        pass
    async with ClientSession() as session:
        with pytest.raises(ClientConnectionError):
            await session.post(url)
