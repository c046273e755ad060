"""Each metric of the document moves when its cause happens, at real gateways, over their fronts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.errors import GatewayError
from gateway.core.model import Blob, BlobType, GetParams, RunStatus, SubmitParams
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from gateway.testing.component_server import component_server
from gateway.testing.functions import Functions
from tests.support.clients import GrpcClient, JsonRpcClient
from tests.support.identities import token_entry, write_tokens
from tests.support.metrics_table import registry

PLAIN = Blob('{"steps": [], "output": {"$input": "$"}}', BlobType.FLOW)
STEPS = Blob(
    '{"steps": [{"id": "s", "component": "/t/held", "input": {"$input": "$"}}], "output": {"$step": "s"}}',
    BlobType.FLOW,
)
LARGEST = 1 << 16

ELSEWHERE = {
    **dict.fromkeys(
        ("runs_gateway_object_calls_total", "runs_gateway_object_call_seconds", "runs_gateway_object_bytes_total"),
        "tests/unit/storage/test_object_calls.py",
    ),
    **dict.fromkeys(
        (
            *("runs_gateway_temporal_cache_evictions_total", "runs_gateway_temporal_requests_failed_total"),
            *("runs_gateway_temporal_cache_lookups_total", "runs_gateway_temporal_cached_workflows"),
            *("runs_gateway_temporal_chunks_executed_total", "runs_gateway_temporal_items_ended_total"),
            *("runs_gateway_temporal_pollers", "runs_gateway_temporal_polls_total"),
            *("runs_gateway_temporal_task_delay_seconds", "runs_gateway_temporal_task_seconds"),
            *("runs_gateway_temporal_task_slots_free", "runs_gateway_temporal_task_slots_used"),
            *("runs_gateway_temporal_tasks_failed_total", "runs_gateway_object_storage_up"),
        ),
        "tests/integration/test_temporal_metrics.py",
    ),
    "runs_gateway_spans_lost_total": "tests/unit/server/test_span_queue.py",
    "runs_gateway_worker_restarts_total": "tests/integration/test_metrics.py",
}
"""Metrics that other tests move, with workers that die, silent collectors, object storage, and a Temporal server."""


class Scene:
    """A gateway with a component that waits until it is `released`, and clients of both fronts."""

    def __init__(self, stack: AsyncExitStack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        self.released = asyncio.Event()

    async def start(self) -> None:
        """Start the gateway."""
        url = await self.stack.enter_async_context(component_server(Functions({"/t/held": self._held})))
        self.gateway = await self.other(components={"/": url}, keep_runs=1)
        assert self.gateway.metrics is not None
        self.metrics = self.gateway.metrics
        self.http = await self.session()
        self.grpc = GrpcClient(self.gateway.grpc)
        self.stack.push_async_callback(self.grpc.close)
        self.jsonrpc = JsonRpcClient(self.gateway.http)
        self.stack.push_async_callback(self.jsonrpc.close)

    async def other(self, **settings: Any) -> Any:
        """Start one more gateway in this process: the metrics are those of both."""
        addresses = dict.fromkeys(("grpc_address", "http_address", "metrics_address"), "127.0.0.1:0")
        state = str(self.directory / f"{len(list(self.directory.iterdir()))}.db")
        made = ServeSettings(**{**addresses, "state": state, "max_message_bytes": LARGEST, **settings})
        return await self.stack.enter_async_context(running(made))

    async def session(self) -> aiohttp.ClientSession:
        return await self.stack.enter_async_context(aiohttp.ClientSession())

    async def _held(self, value: Any) -> Any:
        await self.released.wait()
        return value

    async def submit(self, flow: Blob = PLAIN, inputs: int = 1, **fields: Any) -> RunStatus:
        flow_id = await self.grpc.put_blob(flow)
        return await self.grpc.submit(SubmitParams(flow_id=flow_id, inputs=["1"] * inputs, **fields))

    async def follow(self, run_id: str, **fields: Any) -> Any:
        """Follow a run over gRPC until the end of the scene; the first state has come on return."""
        updates = self.grpc.follow(GetParams(run_id=run_id, wait=True, **fields))
        self.stack.push_async_callback(updates.aclose)
        await anext(updates)
        return updates

    async def read(self, name: str, labels: Mapping[str, str]) -> float:
        """The sum of a metric over the series with these labels; of a histogram, how many values have come."""
        async with self.http.get(self.metrics) as response:
            text = await response.text()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in (name, f"{name}_count") and sample.labels.items() >= labels.items()
        )


Cause = Callable[[Scene], Awaitable[object]]


class Case(NamedTuple):
    """What moves a metric, and in which series. Without a cause, it is there as soon as a gateway runs."""

    cause: Cause | None = None
    labels: Mapping[str, str] = MappingProxyType({})


async def submit(scene: Scene) -> None:
    await scene.submit()


async def execute(scene: Scene) -> None:
    scene.released.set()
    await scene.submit(STEPS, wait=True)


async def hold(scene: Scene) -> None:
    await scene.submit(STEPS, inputs=3, max_concurrency=1)


async def follow_held(scene: Scene) -> None:
    await scene.follow((await scene.submit(STEPS)).run_id)


async def follow_held_results(scene: Scene) -> None:
    await scene.follow((await scene.submit(STEPS)).run_id, include_results=True)


async def follow_to_the_end(scene: Scene) -> None:
    updates = await scene.follow((await scene.submit(STEPS)).run_id)
    scene.released.set()
    assert [update async for update in updates]


async def follow_many_states(scene: Scene) -> None:
    """A client reads on when its run has ended: states that take more than gRPC keeps for it have gone by then."""
    labels = {f"label{number}": "x" * 250 for number in range(30)}
    run = await scene.submit(STEPS, inputs=300, max_concurrency=1, labels=labels)
    updates = await scene.follow(run.run_id)
    scene.released.set()
    await scene.grpc.get(GetParams(run_id=run.run_id, wait=True))
    assert [update async for update in updates]


async def call_jsonrpc(scene: Scene) -> None:
    flow_id = await scene.jsonrpc.put_blob(PLAIN)
    await scene.jsonrpc.submit(SubmitParams(flow_id=flow_id, inputs=["1"]))


async def follow_set(scene: Scene) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/watch", "params": {}})
    headers = {"Accept": "text/event-stream", "Content-Type": "application/json"}
    url = f"http://{scene.gateway.http}/"
    response = await scene.stack.enter_async_context(scene.http.post(url, data=body, headers=headers))
    assert await response.content.readline()


async def send_too_much(scene: Scene) -> None:
    with suppress(GatewayError):
        await scene.jsonrpc.put_blob(Blob(json.dumps("x" * 2 * LARGEST), BlobType.DATA))


async def call_without_token(scene: Scene) -> None:
    tokens = write_tokens(scene.directory / "tokens.toml", token_entry("ada"))
    closed = await scene.other(tokens=str(tokens))
    client = GrpcClient(closed.grpc)
    with pytest.raises(GatewayError):
        await client.put_blob(PLAIN)
    await client.close()


async def call_over_relay(scene: Scene) -> None:
    relay = await scene.other(runtime=f"grpc://{scene.gateway.grpc}")
    client = GrpcClient(relay.grpc)
    await client.put_blob(PLAIN)
    await client.close()


async def end_two_runs(scene: Scene) -> None:
    await scene.submit()
    await scene.submit()


async def leave_a_blob(scene: Scene) -> None:
    """The gateway of the blob starts again: it looks at blobs a second later, by when nobody has used that one."""
    state = str(scene.directory / "blobs.db")
    addresses: dict[str, Any] = dict.fromkeys(("grpc_address", "http_address", "metrics_address"), "127.0.0.1:0")
    async with running(ServeSettings(**addresses, state=state)) as first:
        client = GrpcClient(first.grpc)
        await client.put_blob(Blob('"nobody needs this"', BlobType.DATA))
        await client.close()
    await scene.other(state=state, keep_blobs=0.5)


GRPC = {"grpc_type": "unary", "grpc_service": "runs.v1.RunsService", "grpc_method": "SubmitRun"}
JSONRPC = {"jsonrpc_method": "runs/submit", "origin": "client"}
THERE = Case()

CASES: dict[str, Case] = {
    "grpc_server_started_total": Case(submit, GRPC),
    "grpc_server_handled_total": Case(submit, {**GRPC, "grpc_code": "OK"}),
    "grpc_server_msg_received_total": Case(submit, GRPC),
    "grpc_server_msg_sent_total": Case(submit, GRPC),
    "grpc_server_handling_seconds": Case(submit, GRPC),
    "jsonrpc_server_started_total": Case(call_jsonrpc, JSONRPC),
    "jsonrpc_server_handled_total": Case(call_jsonrpc, {**JSONRPC, "jsonrpc_code": "ok"}),
    "jsonrpc_server_msg_received_total": Case(call_jsonrpc, JSONRPC),
    "jsonrpc_server_msg_sent_total": Case(call_jsonrpc, JSONRPC),
    "jsonrpc_server_handling_seconds": Case(call_jsonrpc, JSONRPC),
    "runs_gateway_http_requests_total": Case(call_jsonrpc, {"path": "/", "status": "200"}),
    "runs_gateway_open_streams": Case(follow_held, {"method": "runs.v1.RunsService/GetRun"}),
    "runs_gateway_followers": Case(follow_held_results, {"kind": "results"}),
    "runs_gateway_followed_runs": Case(follow_held),
    "runs_gateway_followed_sets": Case(follow_set),
    "runs_gateway_upstream_watches": Case(follow_held),
    "runs_gateway_states_conflated_total": Case(follow_many_states),
    "runs_gateway_update_age_seconds": Case(follow_to_the_end),
    "runs_gateway_connections": Case(follow_held, {"front": "grpc"}),
    "runs_gateway_memory_bytes": Case(follow_held, {"use": "grpc_calls"}),
    "runs_gateway_memory_limit_bytes": THERE,
    "runs_gateway_refusals_total": Case(send_too_much, {"reason": "PAYLOAD_TOO_LARGE"}),
    "runs_gateway_tokens_refused_total": Case(call_without_token, {"reason": "missing"}),
    "runs_gateway_runs_submitted_total": Case(submit),
    "runs_gateway_runs_ended_total": Case(execute, {"state": "success"}),
    "runs_gateway_items_ended_total": Case(execute, {"state": "success"}),
    "runs_gateway_items_executing": Case(hold),
    "runs_gateway_items_waiting": Case(hold),
    "runs_gateway_state_up": Case(None, {"runtime": "embedded"}),
    "runs_gateway_event_loop_turn_seconds": THERE,
    "runs_gateway_component_executions_total": Case(execute, {"prefix": "/", "outcome": "ok"}),
    "runs_gateway_component_execution_seconds": Case(execute, {"prefix": "/"}),
    "runs_gateway_component_server_up": Case(None, {"prefix": "/"}),
    "runs_gateway_upstream_calls_total": Case(call_over_relay, {"runtime": "relay", "outcome": "ok"}),
    "runs_gateway_upstream_call_seconds": Case(call_over_relay, {"runtime": "relay"}),
    "runs_gateway_upstream_up": Case(call_over_relay, {"runtime": "relay"}),
    "runs_gateway_state_commit_seconds": Case(submit),
    "runs_gateway_state_commit_writes": Case(submit),
    "runs_gateway_state_file_bytes": THERE,
    "runs_gateway_retention_runs_deleted_total": Case(end_two_runs),
    "runs_gateway_retention_blobs_deleted_total": Case(leave_a_blob),
    "runs_gateway_retention_last_pass_timestamp_seconds": THERE,
    "runs_gateway_workers": THERE,
    "runs_gateway_build_info": THERE,
    **dict.fromkeys(
        (
            "process_cpu_seconds_total",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_virtual_memory_bytes",
        ),
        Case(None, {"process": "gateway"}),
    ),
}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with _scene(tmp_path) as made:
        yield made


@asynccontextmanager
async def _scene(directory: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        made = Scene(stack, directory)
        await made.start()
        yield made


def test_each_metric_has_a_case() -> None:
    assert {family.name for family in registry()} == CASES.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_metric_without_a_case_is_moved_elsewhere(name: str) -> None:
    text = (Path(__file__).parents[2] / ELSEWHERE[name]).read_text(encoding="utf-8")
    assert name in text or "trace_metrics" in text


@pytest.mark.parametrize("name", CASES)
async def test_a_metric_moves_when_its_cause_happens(name: str, scene: Scene) -> None:
    case = CASES[name]
    before = 0.0
    if case.cause is not None:
        before = await scene.read(name, case.labels)
        await case.cause(scene)
    while await scene.read(name, case.labels) <= before:  # noqa: ASYNC110 - nobody tells when a metric has moved
        # Nothing tells when an event loop is looked at, or retention has passed. The test has a time limit.
        await asyncio.sleep(0.01)
