"""Dialects: each is recognized by how it refuses, written in its own spelling, and read in any."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.errors import (
    BlobNotFound,
    FlowNotFound,
    GatewayError,
    InvalidParams,
    MethodNotFound,
    NotFound,
    RemoteError,
    RunNotFound,
    Unavailable,
)
from gateway.core.model import Blob, BlobType, JsonText, ResultOrder, RunState, SubmitParams, blob_id_of
from gateway.core.runtime import Page
from gateway.runtimes.jsonrpc.dialect import Dialect, detect, map_error
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.storage.idempotency import Keys
from tests.support.component_server import Call, ComponentServer

RUN = "11111111-2222-4333-8444-555555555555"
DIGEST = "ab" * 32
FLOW = blob_id_of(DIGEST)


class Stepflow(ComponentServer):
    """Speaks as a release does, as far as its traffic shows it: it refuses what the release refuses."""

    def __init__(self, release: str) -> None:
        super().__init__(self._answer, handshake={})
        self.release = release
        self.submits: list[dict[str, Any]] = []

    async def _answer(self, call: Call) -> None:
        if "jsonrpc" not in call.message:
            await self._rest(call)
            return
        params = call.message["params"]
        match call.message["method"]:
            case "runs/get" if params.get("resultOrder", "by_index") not in ("by_index", "by_completion"):
                await self._refuse(call, -32602, "unknown variant `byIndex`")
            case "runs/get" if params["runId"] != RUN:
                await self._refuse(call, -32000, "Failed to get run")
            case "runs/get":
                await call.result(self._status(results=params.get("includeResults", False)))
            case "runs/submit" if self.release != "0.9" and not params.get("subflowKey"):
                await self._refuse(call, -32602, "missing field `subflowKey`")
            case "runs/submit" if params["flowId"] != DIGEST:
                await self._refuse(call, -32005 if self.release == "0.11" else -32011, "Flow not found")
            case "runs/submit":
                self.submits.append(params)
                await call.result(self._status(results=False))
            case "blobs/put" if self.release == "0.9":
                await call.result({"blob_id": DIGEST})
            case "blobs/get" if self.release == "0.9":
                await call.result({"data": {"a": 1}, "blob_type": "data"})
            # The releases answer nothing else: who asks waits for ever.

    async def _rest(self, call: Call) -> None:
        assert self.release != "0.9"
        body = {"blobId": DIGEST} if call.body else {"data": {"a": 1}, "blobType": "data", "blobId": DIGEST}
        await call.respond(json.dumps(body).encode())

    def _status(self, *, results: bool) -> dict[str, Any]:
        outcomes = [
            {"itemIndex": 1, "status": "completed", "result": {"outcome": "success", "result": 2}},
            {
                "itemIndex": 0,
                "status": "failed",
                "result": {"outcome": "failed", "error": {"code": -32100, "message": "m"}},
            },
            {"itemIndex": 2, "status": "running"},
        ]
        for second, outcome in enumerate(outcomes[:2]):
            outcome["completedAt"] = f"2025-01-15T10:30:0{second}.5Z"
        return {
            "runId": RUN,
            "flowId": DIGEST,
            "status": "paused",
            "items": {"total": 3, "completed": 1, "running": 1, "failed": 1, "cancelled": 0},
            "createdAt": "2025-01-15T10:30:00.123456789+00:00",
            **({"results": outcomes} if results else {}),
        }

    async def _refuse(self, call: Call, code: int, message: str) -> None:
        error = {"code": code, "message": message}
        await call.respond(json.dumps({"jsonrpc": "2.0", "id": call.message["id"], "error": error}).encode())


DIALECTS = {"0.9": Dialect.V0_9, "0.10": Dialect.V0_10, "0.11": Dialect.V0_10}


@pytest.fixture(params=DIALECTS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Stepflow]:
    server = Stepflow(request.param)
    async with server.running():
        yield server


@pytest.fixture
async def runtime(server: Stepflow) -> AsyncIterator[JsonRpcRuntime]:
    keys = await Keys.open(":memory:")
    runtime = JsonRpcRuntime(server.url, keys)
    yield runtime
    await runtime.close()
    await keys.close()


async def test_a_release_is_recognized_and_understood(server: Stepflow, runtime: JsonRpcRuntime) -> None:
    assert await runtime._upstream.reachability.ready() is DIALECTS[server.release]
    assert server.submits == []
    assert await runtime.put_blob(Blob("{}", BlobType.FLOW)) == FLOW
    assert await runtime.get_blob(FLOW) == Blob('{"a": 1}', BlobType.DATA)
    params = SubmitParams(flow_id=FLOW, inputs=["1"], overrides='{"s":{"value":{}}}')
    snapshot = await runtime.submit(params, "")
    assert (snapshot.status.run_id, snapshot.status.flow_id) == (RUN, FLOW)
    assert snapshot.status.status is RunState.RUNNING
    assert (snapshot.status.items.success, snapshot.completions) == (1, 2)
    results = await runtime.results(RUN, Page(ResultOrder.BY_COMPLETION, 0, 3, 0, 2))
    assert [(r.item_index, r.status, r.value) for r in results] == [
        (1, RunState.SUCCESS, "2"),
        (0, RunState.FAILED, None),
    ]
    results = await runtime.results(RUN, Page(ResultOrder.BY_INDEX, 0, 3, 0, 2))
    assert [result.item_index for result in results] == [0, 1]
    watch = runtime.watch(RUN)
    assert (await anext(watch)).prefix == 2
    await watch.aclose()
    with pytest.raises(RunNotFound):
        await runtime.get(RUN.replace("1", "2"))
    with pytest.raises(FlowNotFound):
        await runtime.submit(replace(params, flow_id=blob_id_of("cd" * 32)), "")


async def test_a_release_that_needs_keys_gets_some(server: Stepflow, runtime: JsonRpcRuntime) -> None:
    for key in (None, None, "k", "k2"):
        await runtime.submit(SubmitParams(flow_id=FLOW, inputs=["1"], idempotency_key=key), "task")
    sent = [params.get("subflowKey") for params in server.submits]
    if server.release == "0.9":
        assert sent == [None] * 4
    else:
        assert len({uuid.UUID(key) for key in sent}) == 4


PARAMS = SubmitParams(
    flow_id=FLOW, inputs=["1e400"], wait=True, timeout=3.0, max_concurrency=2, overrides='{"s":{"value":1}}'
)


def written(dialect: Dialect, params: SubmitParams = PARAMS, key: str | None = "k") -> Any:
    return json.loads(dialect.submit_params(params, key), parse_float=str)


def test_submits_are_written_as_each_dialect_spells_them() -> None:
    common = {"inputs": ["1e400"], "maxConcurrency": 2}
    flat, nested = {"s": {"value": 1}}, {"steps": {"s": {"value": 1}}}
    assert written(Dialect.DOCUMENT) == {"flowId": FLOW, **common, "overrides": flat}
    assert written(Dialect.SUPERSET) == {"flowId": FLOW, **common, "overrides": flat, "subflowKey": "k"}
    assert written(Dialect.V0_9) == {"flowId": DIGEST, **common, "overrides": flat}
    v0_10 = written(Dialect.V0_10)
    assert v0_10.pop("subflowKey") == written(Dialect.V0_10)["subflowKey"]
    assert v0_10 == {"flowId": DIGEST, **common, "overrides": nested}
    wrapped = replace(PARAMS, overrides='{"steps":{"s":{"value":1}}}')
    assert written(Dialect.V0_9, wrapped)["overrides"] == flat
    assert written(Dialect.V0_10, wrapped)["overrides"] == nested
    absent = replace(PARAMS, overrides='{"steps":null,"s":{"value":1}}')
    assert written(Dialect.V0_9, absent)["overrides"] == flat
    assert written(Dialect.V0_10, absent)["overrides"] == nested


def test_reading_is_written_as_each_dialect_spells_it() -> None:
    orders = {dialect: json.loads(dialect.results_params(RUN))["resultOrder"] for dialect in Dialect}
    assert [orders[Dialect.DOCUMENT], orders[Dialect.V0_9], orders[Dialect.V0_10]] == [
        "byCompletion",
        "by_completion",
        "by_completion",
    ]
    assert json.loads(Dialect.DOCUMENT.wait_params(RUN, 300)) == {"runId": RUN, "wait": True}
    assert json.loads(Dialect.V0_10.wait_params(RUN, 300)) == {"runId": RUN, "wait": True, "timeoutSecs": 300}


async def test_a_strict_server_of_the_document_is_no_stepflow() -> None:
    async def ask(method: str, params: JsonText) -> JsonText:
        raise InvalidParams.field("run_id", description="is unknown")

    assert await detect(ask) is Dialect.DOCUMENT


@pytest.mark.parametrize("failure", [Unavailable("away"), RemoteError(RemoteError.code, "no JSON-RPC")])
async def test_what_is_no_answer_tells_no_dialect(failure: GatewayError) -> None:
    async def ask(method: str, params: JsonText) -> JsonText:
        raise failure

    with pytest.raises(type(failure)):
        await detect(ask)


@pytest.mark.parametrize(
    ("method", "error", "kind"),
    [
        ("runs/get", RemoteError(-32000, "Failed to get run", data="1"), RunNotFound),
        ("runs/get", RemoteError(-32000, "Unknown run"), RunNotFound),
        ("runs/get", RemoteError(-32000, "out of memory"), RemoteError),
        ("runs/submit", RemoteError(-32011, "no"), FlowNotFound),
        ("runs/submit", RemoteError(-32000, "not found"), RemoteError),
        ("runs/submit", NotFound("no"), FlowNotFound),
        ("blobs/get", NotFound("no"), BlobNotFound),
        ("blobs/get", RemoteError(-32000, "Blob not found"), BlobNotFound),
        ("blobs/put", MethodNotFound("no"), MethodNotFound),
    ],
)
def test_errors_mean_what_they_do_in_their_method(method: str, error: GatewayError, kind: type[GatewayError]) -> None:
    meant = map_error(method, error)
    assert type(meant) is kind
    assert (meant.message, meant.data) == (error.message, error.data)
