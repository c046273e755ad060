"""Gateways behind real proxies, configured as docs/proxies.md says.

Two relays of one gateway stand behind each proxy. The ordinary suite has some of each thing, the slow tests all of it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from gateway.client import AsyncRunsClient, InvalidFlow, RunState, RunUpdate, TooLarge
from gateway.server.app import running
from gateway.server.listening import Addresses
from gateway.server.settings import ServeSettings
from gateway.testing.component_server import component_server
from gateway.testing.functions import Functions
from tests.support.one_address import call_grpc, call_http
from tests.support.proxies import NAMES, Proxy, proxied

FLOW = {"steps": [{"id": "s", "component": "/gate/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
ECHO = {"steps": [], "output": {"$input": "$"}}
SECONDS = 100.0
"""Nothing below takes nearly as long."""


class Behind:
    """A gateway with a gate in its component, two relays of it, and a proxy before these."""

    def __init__(self, proxy: Proxy, gate: asyncio.Semaphore, relays: "Relays") -> None:
        self.proxy = proxy
        self.gate = gate
        self.relays = relays

    def client(self, **options: Any) -> AsyncRunsClient:
        return AsyncRunsClient(self.proxy.secure, credentials=self.proxy.credentials, **options)


class Relays:
    """Two relays, each of which can be restarted at its addresses."""

    def __init__(self, upstream: str) -> None:
        self.addresses: list[Addresses] = []
        self._upstream = upstream
        self._stacks = [AsyncExitStack(), AsyncExitStack()]

    async def start(self, number: int) -> None:
        where = self.addresses[number] if number < len(self.addresses) else Addresses("127.0.0.1:0", "127.0.0.1:0")
        # So long balancers may take to notice that a relay stops.
        drain_delay = 2 if number < len(self.addresses) else 0
        settings = serving(
            grpc=where.grpc, http=where.http, runtime=f"grpc://{self._upstream}", drain_delay=drain_delay
        )
        addresses = await self._stacks[number].enter_async_context(running(settings))
        self.addresses[number : number + 1] = [addresses]

    async def stop(self, number: int) -> None:
        await self._stacks[number].aclose()


def serving(*, grpc: str = "127.0.0.1:0", http: str = "127.0.0.1:0", **settings: Any) -> ServeSettings:
    addresses = {"grpc_address": grpc, "http_address": http, "metrics_address": "off"}
    return ServeSettings.model_validate({**addresses, "state": ":memory:", **settings})


@asynccontextmanager
async def behind(name: str, folder: Path, **options: Any) -> AsyncIterator[Behind]:
    gate = asyncio.Semaphore(0)

    async def echo(value: Any) -> Any:
        await gate.acquire()
        return value

    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(component_server(Functions({"/gate/echo": echo})))
        upstream = await stack.enter_async_context(running(serving(components={"/": url})))
        relays = Relays(upstream.grpc)
        for number in range(2):
            await relays.start(number)
            stack.push_async_callback(relays.stop, number)
        first, second = relays.addresses
        proxy = await stack.enter_async_context(proxied(name, folder, (first, second), **options))
        async with asyncio.timeout(SECONDS):
            yield Behind(proxy, gate, relays)


BALANCING = [name for name in NAMES if name != "apache"]
"""Apache gives all gRPC calls to one gateway, and serves few of them at the same time."""


@pytest.fixture(params=NAMES)
async def gateways(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Behind]:
    async with behind(request.param, tmp_path) as found:
        yield found


async def test_everything_is_served_with_tls_and_below_a_prefix(gateways: Behind) -> None:
    proxy = gateways.proxy
    async with gateways.client() as client:
        run = await client.submit_and_wait(await client.put_flow(ECHO), ["x" * (1 << 20)] * 20)
        assert run.status is RunState.SUCCESS
        with pytest.raises(TooLarge):
            await client.put_flow({"steps": [], "output": "x" * (5 << 20)})
        flow = {"steps": [{"id": f"s{index}", "component": "/x", "input": {"$step": "no"}} for index in range(99)]}
        with pytest.raises(InvalidFlow, match=r"and [0-9]+ more violations"):
            await client.put_flow(flow)
    async with AsyncRunsClient(proxy.plain) as plain:
        assert (await plain.get(run.run_id)).finished
    request = {"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": run.run_id, "wait": True}}
    async with ClientSession() as http:
        for path in ("/", "/runs/"):
            headers = {"Accept": "text/event-stream"}
            async with http.post(
                f"https://{proxy.secure}{path}", json=request, ssl=proxy.ssl, headers=headers
            ) as answer:
                assert answer.content_type == "text/event-stream"
                assert "succe" in await answer.text()
        async with http.get(f"https://{proxy.secure}/health", ssl=proxy.ssl) as answer:
            assert answer.status == 200


async def test_each_protocol_is_served_at_one_address(gateways: Behind, tmp_path: Path) -> None:
    proxy = gateways.proxy
    await call_grpc(f"https://{proxy.secure}", tmp_path / "cert.pem")
    await call_http(f"https://{proxy.secure}", proxy.ssl)
    await call_http(f"https://{proxy.secure}/runs", proxy.ssl)


async def follow_many(gateways: Behind, watches: int) -> None:
    async with gateways.client() as client, AsyncExitStack() as stack:
        flow_id = await client.put_flow(FLOW)
        run_id = (await client.submit(flow_id, [1])).run_id
        updates = [await stack.enter_async_context(aclosing(client.watch(run_id))) for _ in range(watches)]
        await asyncio.gather(*(anext(each) for each in updates))
        other = (await client.submit(flow_id, [2])).run_id
        assert not (await client.get(other)).finished
        gateways.gate.release()
        gateways.gate.release()
        ends = await asyncio.gather(*map(last, updates))
        assert all(end.run.finished and not end.reconnected for end in ends)


async def last(updates: Any) -> RunUpdate:
    found: list[RunUpdate] = [update async for update in updates]
    return found[-1]


@pytest.mark.parametrize("gateways", BALANCING, indirect=True)
async def test_watches_start_with_a_submit_beside_them(gateways: Behind) -> None:
    await follow_many(gateways, 130)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("gateways", BALANCING, indirect=True)
async def test_three_hundred_watches_start_with_a_submit_beside_them(gateways: Behind) -> None:
    await follow_many(gateways, 300)


class Follower:
    """Follows a run to its end, with its results."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.reconnected = 0
        self.finished = False

    async def follow(self, client: AsyncRunsClient, run_id: str) -> None:
        async for update in client.watch(run_id, include_results=True, heartbeat_interval=1.0):
            self.values += [result.value for result in update.results]
            self.reconnected += update.reconnected
            self.finished = update.run.finished


async def follow_over_restarts(gateways: Behind, followers: int, restarts: int) -> None:
    """Restart the relays one after the other, with a result before and after each restart."""
    items = 2 * restarts + 1
    async with gateways.client() as client:
        run_id = (await client.submit(await client.put_flow(FLOW), list(range(items)))).run_id
        following = [Follower() for _ in range(followers)]
        tasks = [asyncio.create_task(each.follow(client, run_id)) for each in following]
        for number in range(restarts):
            gateways.gate.release()
            await gateways.relays.stop(number % 2)
            gateways.gate.release()
            # A call that is not a stream, while one relay is away.
            assert (await client.get(run_id)).items.total == items
            await gateways.relays.start(number % 2)
        gateways.gate.release()
        await asyncio.gather(*tasks)
        assert all(each.finished for each in following)
        assert [sorted(each.values) for each in following] == [list(range(items))] * followers


@pytest.mark.parametrize("gateways", BALANCING, indirect=True)
async def test_relays_are_restarted_under_followers(gateways: Behind) -> None:
    await follow_over_restarts(gateways, 20, 2)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("gateways", BALANCING, indirect=True)
async def test_relays_are_restarted_under_two_hundred_followers(gateways: Behind) -> None:
    await follow_over_restarts(gateways, 200, 4)


LIMITS = "max_stream_duration: {max_stream_duration: 0.3s, grpc_timeout_header_max: 0.3s}"
CUTTING = {
    "envoy": ("cluster: gateways_grpc, timeout: 0s", f"cluster: gateways_grpc, {LIMITS}"),
    "nginx": ("grpc_read_timeout 60s", "grpc_read_timeout 300ms"),
    "haproxy": ("timeout server 60s", "timeout server 300ms"),
}
"""What makes a proxy cut each stream after 0.3 s."""


async def cut(name: str, folder: Path, cuts: int) -> None:
    """Follow a run with one result after each cut."""
    async with behind(name, folder, changes=(CUTTING[name],)) as gateways, gateways.client() as client:
        run_id = (await client.submit(await client.put_flow(FLOW), list(range(cuts)))).run_id
        seen, reconnected, updates = [], 0, client.watch(run_id, include_results=True, timeout=SECONDS)
        async with aclosing(updates):
            async for update in updates:
                seen += [result.value for result in update.results]
                if update.reconnected:
                    reconnected += 1
                    gateways.gate.release()
        assert reconnected >= cuts
        assert sorted(seen) == list(range(cuts))
        assert update.run.finished


@pytest.mark.parametrize("name", CUTTING)
async def test_streams_that_a_proxy_cuts_go_on(name: str, tmp_path: Path) -> None:
    await cut(name, tmp_path, 3)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("name", CUTTING)
async def test_streams_that_a_proxy_cuts_fifty_times_go_on(name: str, tmp_path: Path) -> None:
    await cut(name, tmp_path, 50)


async def test_the_body_limit_of_a_proxy_is_named_at_once(tmp_path: Path) -> None:
    changes = (("client_max_body_size 0", "client_max_body_size 1m"),)
    async with behind("nginx", tmp_path, changes=changes) as gateways, gateways.client() as client:
        with pytest.raises(TooLarge, match=r"a proxy before the gateway at .* HTTP 413"):
            await client.put_flow({"steps": [], "output": "x" * (2 << 20)})
