from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.components import ComponentError, Components
from gateway.components.error import Code
from gateway.core.errors import ComponentUnavailable
from gateway.core.model import ObservabilityContext
from tests.support.component_server import HANDSHAKE, Call, ComponentServer

CONTEXT = ObservabilityContext()


async def refuse(request: bytes, scope: str) -> bytes | None:
    raise AssertionError("no component was to ask for anything")


def components(routes: dict[str, str]) -> Components:
    return Components(routes)


async def tell_component(call: Call) -> None:
    if call.message["method"] == "components/info":
        hidden = call.message["params"]["component"].startswith("/wild/")
        answer = {"result": {}} if hidden else {"error": {"code": -32001, "message": "not found"}}
        body = str({"jsonrpc": "2.0", "id": call.message["id"], **answer}).replace("'", '"')
        await call.respond(body.encode())
    else:
        await call.result({"output": call.message["params"]["component"]})


@pytest.fixture
async def three() -> AsyncIterator[tuple[Components, dict[str, ComponentServer]]]:
    """Servers under /a, /a/b and, for everything else, /."""
    async with AsyncExitStack() as stack:
        servers = {prefix: ComponentServer(tell_component) for prefix in ("a", "/a/b/", "/")}
        routes = {prefix: await stack.enter_async_context(server.running()) for prefix, server in servers.items()}
        registry = components(routes)
        await registry.start(refuse, None)
        stack.push_async_callback(registry.close)
        yield registry, servers


@pytest.mark.parametrize(
    ("component", "prefix", "path"),
    [
        ("/a/x", "a", "/x"),
        ("/a/bc/x", "a", "/bc/x"),
        ("/a/b/x/y", "/a/b/", "/x/y"),
        ("/ab/x", "/", "/ab/x"),
        ("/a", "/", "/a"),
        ("/a/b", "a", "/b"),
    ],
)
async def test_the_longest_prefix_of_whole_segments_wins(
    three: tuple[Components, dict[str, ComponentServer]], component: str, prefix: str, path: str
) -> None:
    registry, servers = three
    output = await registry.execute(component, "{}", attempt=1, observability=CONTEXT, scope="t")
    assert output == f'"{path}"'
    assert [name for name, server in servers.items() if "components/execute" in server.methods()] == [prefix]


async def test_a_component_without_a_route_is_not_found() -> None:
    registry = components({})
    await registry.start(refuse, None)
    with pytest.raises(ComponentError, match="'/x/y'") as caught:
        await registry.execute("/x/y", "{}", attempt=1, observability=CONTEXT, scope="t")
    assert caught.value.code == Code.COMPONENT_NOT_FOUND
    assert not await registry.resolve("/x/y")
    await registry.close()


@pytest.mark.parametrize(
    ("component", "exists"),
    [("/a/double", True), ("/a/wild/x", True), ("/a/triple", False), ("/builtin/eval", False), ("double", False)],
)
async def test_resolve_asks_for_what_is_not_listed(
    three: tuple[Components, dict[str, ComponentServer]], component: str, exists: bool
) -> None:
    registry, _ = three
    assert await registry.resolve(component) is exists


async def test_a_component_of_a_server_that_lists_nothing_may_exist() -> None:
    async def no_such_method(call: Call) -> None:
        assert call.message["method"] in ("components/list", "components/info")
        await call.respond(
            b'{"jsonrpc":"2.0","id":"%s","error":{"code":-32601,"message":"no"}}' % call.message["id"].encode()
        )

    server = ComponentServer(no_such_method, {"initialize": HANDSHAKE["initialize"]})
    async with server.running() as url:
        registry = components({"/a": url})
        await registry.start(refuse, None)
        assert await registry.resolve("/a/anything")
        await registry.close()


async def test_a_component_of_a_server_that_has_not_answered_is_not_yet_available(unused_tcp_port: int) -> None:
    registry = components({"/a": f"http://127.0.0.1:{unused_tcp_port}"})
    await registry.start(refuse, None)
    for patient in (False, True):
        with pytest.raises(ComponentUnavailable) as caught:
            await registry.resolve("/a/anything", patient=patient)
        assert caught.value.retry_after == 1.0
        assert str(unused_tcp_port) not in caught.value.message
    assert list(registry.unavailable) == ["/a"]
    async with ComponentServer(tell_component).running(unused_tcp_port):
        assert await registry.resolve("/a/double", patient=True)
        assert registry.unavailable == {}
    assert await registry.resolve("/a/double")
    await registry.close()


@pytest.mark.parametrize(
    ("routes", "problem"),
    [
        ({"": "http://x"}, "not a path"),
        ({"/a//b": "http://x"}, "not a path"),
        ({"/a b": "http://x"}, "not a path"),
        ({"/builtin": "http://x"}, "reserved"),
        ({"builtin/x/": "http://x"}, "reserved"),
        ({"/a": "http://x", "a/": "http://y"}, "has a route already"),
        ({"/a": "http://"}, "URL is malformed"),
        ({"/a": "http://x:port"}, "URL is malformed"),
        ({"/a": "  "}, "command is empty"),
        ({"/a": "ftp://x"}, "'ftp://x' is neither a command nor a URL with http or https"),
        ({"/a": "run 'it"}, "command is malformed"),
    ],
)
def test_routes_that_cannot_be_are_refused(routes: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        components(routes)
    assert "component route" in str(caught.value)
