"""Metrics of whole gateways: under load, with workers that hang and die, and whatever clients ask for."""

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.core.errors import GatewayError
from gateway.core.model import Blob, BlobType, GetParams, SubmitParams
from tests.integration.conftest import Start
from tests.integration.test_cli import Gate
from tests.support.clients import GrpcClient, JsonRpcClient
from tests.support.command_line import CommandLine, Serving
from tests.support.workers import workers_of

FLOW = Blob('{"steps": [], "output": {"$input": "$"}}', BlobType.FLOW)
GATED = Blob(
    '{"steps": [{"id": "s", "component": "/gate/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}',
    BlobType.FLOW,
)
WATCH = '{"jsonrpc": "2.0", "id": 1, "method": "runs/watch", "params": {}}'
EVENTS = {"Accept": "text/event-stream", "Content-Type": "application/json"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
MARK = "zq"
"""What is in everything that random clients make up."""

CLIENTS = 10_000

Series = tuple[str, frozenset[tuple[str, str]]]
"""The name of a sample, and its labels."""


class Scraper:
    """Scrapes a gateway again and again, and notices if a counter goes down."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._counted: dict[Series, float] = {}
        self._formats = 0

    async def scrape(self) -> dict[Series, float]:
        """The values of all samples, in one format and the other in turn."""
        self._formats += 1
        accept, parse = ((OPENMETRICS, parse_openmetrics), ("text/plain", parse_text))[self._formats % 2]
        async with aiohttp.ClientSession() as http, http.get(self._url, headers={"Accept": accept}) as response:
            assert response.status == 200
            self.text = await response.text()
        families = [*parse(self.text)]
        assert len({family.name for family in families}) == len(families)
        samples = dict(_samples(families))
        counted = dict(_samples(family for family in families if family.type in ("counter", "histogram")))
        fallen = {each: (before, counted.get(each)) for each, before in self._counted.items() if each not in counted}
        fallen |= {each: (before, counted[each]) for each, before in self._counted.items() if counted[each] < before}
        assert fallen == {}
        self._counted = counted
        return samples


def _samples(families: Iterable[Metric]) -> Iterable[tuple[Series, float]]:
    for family in families:
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value


def total(samples: dict[Series, float], name: str, **labels: str) -> float:
    return sum(value for (found, has), value in samples.items() if found == name and has >= labels.items())


async def submits(grpc_address: str, http_address: str, each: int, clients: int = 6) -> None:
    """Submit runs over both fronts, from connections of their own, and wait for each."""

    async def submit(kind: Callable[[str], Any], address: str) -> None:
        client = kind(address)
        try:
            flow_id = await client.put_blob(FLOW)
            for _ in range(each):
                await client.submit(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True))
        finally:
            await client.close()

    fronts = ((GrpcClient, grpc_address), (JsonRpcClient, http_address.removeprefix("http://")))
    await asyncio.gather(*(submit(*front) for front in fronts for _ in range(clients // 2)))


@pytest.mark.parametrize("workers", [1, 2])
async def test_metrics_are_read_under_load_and_miss_no_call(tmp_path: Path, home: Path, workers: int) -> None:
    flags = ("--state", ":memory:", "--workers", str(workers), "--metrics-address", "127.0.0.1:0")
    async with CommandLine(tmp_path).serving(*flags, env={"TMPDIR": str(home)}) as serving:
        scraper = Scraper(serving.metrics)
        await scraper.scrape()
        load = asyncio.create_task(submits(serving.grpc, serving.http, 50))
        while not load.done():
            await scraper.scrape()
        await load
        samples = await scraper.scrape()
        method = {"grpc_service": "runs.v1.RunsService", "grpc_method": "SubmitRun", "grpc_type": "unary"}
        assert total(samples, "grpc_server_started_total", **method) == 150
        assert total(samples, "grpc_server_handled_total", **method, grpc_code="OK") == 150
        assert total(samples, "grpc_server_handling_seconds_count", **method) == 150
        called = {"jsonrpc_method": "runs/submit", "origin": "client"}
        assert total(samples, "jsonrpc_server_handled_total", **called, jsonrpc_code="ok") == 150
        assert total(samples, "runs_gateway_workers") == workers
        assert total(samples, "runs_gateway_build_info") == 1
        names = {dict(labels)["process"] for name, labels in samples if name == "process_open_fds"}
        assert names == ({"gateway"} if workers == 1 else {"gateway", "worker-1", "worker-2"})


@pytest.fixture
async def of_workers(tmp_path: Path, home: Path) -> Any:
    """A gateway of two workers that have served calls."""
    flags = ("--state", ":memory:", "--workers", "2", "--metrics-address", "127.0.0.1:0")
    async with CommandLine(tmp_path).serving(*flags, env={"TMPDIR": str(home)}) as serving:
        await submits(serving.grpc, serving.http, 5)
        yield serving


async def test_followers_are_clients_however_many_workers_there_are(tmp_path: Path, home: Path) -> None:
    """What a worker follows in the process with the runtime, for its clients, counts once for all of them."""
    gate = Gate()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gate.server.running())
        flags = ("--state", ":memory:", "--workers", "2", "--metrics-address", "127.0.0.1:0")
        component = ("--component", f"/gate={gate.server.url}")
        serving = await stack.enter_async_context(
            CommandLine(tmp_path).serving(*flags, *component, env={"TMPDIR": str(home)})
        )
        clients = [GrpcClient(serving.grpc) for _ in range(6)]
        for client in clients:
            stack.push_async_callback(client.close)
        run = await clients[0].submit(SubmitParams(flow_id=await clients[0].put_blob(GATED), inputs=["1"]))
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)))
        for number, client in enumerate(clients):
            params = GetParams(run_id=run.run_id, wait=True, include_results=number % 3 == 0)
            updates = client.follow(params)
            stack.push_async_callback(updates.aclose)
            await anext(updates)
            watching = http.post(serving.http, data=WATCH, headers=EVENTS)
            assert await (await stack.enter_async_context(watching)).content.readline()
        samples = await Scraper(serving.metrics).scrape()
    kinds = {kind: total(samples, "runs_gateway_followers", kind=kind) for kind in ("status", "results", "set")}
    assert kinds == {"status": 4, "results": 2, "set": 6}
    assert total(samples, "runs_gateway_followed_runs") == total(samples, "runs_gateway_followed_sets") == 1
    assert total(samples, "runs_gateway_upstream_watches") >= 2


async def log_line(serving: Serving, text: str) -> None:
    assert serving.process.stderr is not None
    while text not in (await serving.process.stderr.readline()).decode():
        assert serving.process.returncode is None


async def test_no_counter_goes_down_when_workers_die(of_workers: Serving) -> None:
    scraper = Scraper(of_workers.metrics)
    samples = await scraper.scrape()
    for deaths in range(1, 3):
        os.kill(workers_of(of_workers)[0], signal.SIGKILL)
        await log_line(of_workers, "has ended with -9")
        samples = await scraper.scrape()
        assert total(samples, "runs_gateway_worker_restarts_total") == deaths
        await log_line(of_workers, "has taken a dead one's place")
        assert total(await scraper.scrape(), "runs_gateway_workers") == 2
    before = total(samples, "grpc_server_handled_total", grpc_method="SubmitRun")
    assert before == 15
    await submits(of_workers.grpc, of_workers.http, 5)
    assert total(await scraper.scrape(), "grpc_server_handled_total", grpc_method="SubmitRun") == before + 15


async def test_a_worker_that_hangs_fails_no_scrape(of_workers: Serving) -> None:
    scraper = Scraper(of_workers.metrics)
    await scraper.scrape()
    hung = workers_of(of_workers)[0]
    os.kill(hung, signal.SIGSTOP)
    try:
        samples = await scraper.scrape()
        assert total(samples, "grpc_server_handled_total", grpc_method="SubmitRun") == 15
        assert len([1 for name, _ in samples if name == "process_open_fds"]) == 2
    finally:
        os.kill(hung, signal.SIGCONT)
    samples = await scraper.scrape()
    assert len([1 for name, _ in samples if name == "process_open_fds"]) == 3


async def test_a_hundred_scrapers_at_once(of_workers: Serving) -> None:
    scrapers = [Scraper(of_workers.metrics) for _ in range(100)]
    samples = await asyncio.gather(*(scraper.scrape() for scraper in scrapers))
    assert {total(each, "grpc_server_handled_total", grpc_method="SubmitRun") for each in samples} == {15}


async def test_no_client_can_make_series(start: Start) -> None:
    """What stands in a label is of a closed set, whatever clients send: methods, paths, tokens, headers, ids."""
    gateway = await start(metrics_address="127.0.0.1:0")
    assert gateway.addresses.metrics is not None
    scraper = Scraper(gateway.addresses.metrics)
    generator = random.Random(14)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(gateway.addresses.grpc))
        asking = Askers(http, f"http://{gateway.addresses.http}", channel, gateway.grpc, generator)
        for _ in range(10):
            await asking.ask(CLIENTS // 100)
        before = await scraper.scrape()
        for _ in range(9):
            await asking.ask(CLIENTS // 10)
        after = await scraper.scrape()
    assert MARK not in scraper.text
    # Errors that had not come yet make some: a code beside a method. There are few of both.
    assert len(after.keys() - before.keys()) <= 20


class Askers:
    """Clients that ask for anything."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        channel: grpc.aio.Channel,
        client: GrpcClient,
        generator: random.Random,
    ) -> None:
        self._http, self._url, self._channel, self._client = http, url, channel, client
        self._generator = generator

    async def ask(self, number: int) -> None:
        ways = (self._path, self._jsonrpc, self._grpc, self._run)
        await asyncio.gather(*(self._generator.choice(ways)() for _ in range(number)))

    def _name(self) -> str:
        return f"{MARK}{self._generator.getrandbits(64):x}"

    async def _path(self) -> None:
        method = self._generator.choice(("GET", "PUT", "DELETE", "OPTIONS", self._name().upper()))
        place = self._generator.choice(("/", "/api/v1/blobs/", "/ui/", "/c/", "/metrics/"))
        headers = {"Authorization": f"Bearer {self._name()}", self._name(): self._name(), "traceparent": self._name()}
        async with self._http.request(method, f"{self._url}{place}{self._name()}", headers=headers) as response:
            await response.read()

    async def _jsonrpc(self) -> None:
        names = (self._name(), "runs/get", "runs/submit", "runs/list", "runs/cancel")
        params = {"runId": self._name(), "flowId": self._name(), "labels": {self._name(): self._name()}}
        body = {"jsonrpc": "2.0", "id": self._name(), "method": self._generator.choice(names), "params": params}
        headers = {"runs-namespace": self._name()}
        async with self._http.post(self._url, json=body, headers=headers) as response:
            await response.read()

    async def _grpc(self) -> None:
        services = ("runs.v1.RunsService", "grpc.health.v1.Health", self._name())
        call: Any = self._channel.unary_unary(f"/{self._generator.choice(services)}/{self._name()}")
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"", metadata=((self._name(), self._name()), ("traceparent", self._name())))

    async def _run(self) -> None:
        with pytest.raises(GatewayError):
            await self._client.get(GetParams(run_id=self._name()))
