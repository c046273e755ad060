"""`rpc.discover` on whole gateways, for clients and for components."""

import asyncio
import json
from typing import Any

from gateway.adapter.method_examples import EXAMPLES, RUN_ID
from gateway.core.model import Blob, BlobType, SubmitParams
from gateway.fronts.http.openrpc import openrpc_document
from tests.integration.conftest import Gateway, Start
from tests.support.component_server import Call, ComponentServer
from tests.support.page_session import stable

CALL = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}


async def post(gateway: Gateway, body: Any) -> Any:
    return json.loads(await gateway.jsonrpc.post(json.dumps(body)))


async def test_every_gateway_tells_what_it_has(gateway: Gateway) -> None:
    document = json.loads(openrpc_document())
    assert await post(gateway, CALL) == {"jsonrpc": "2.0", "id": 1, "result": document}
    assert [answer["result"] for answer in await post(gateway, [CALL] * 20)] == [document] * 20
    assert await gateway.jsonrpc.post(json.dumps({"jsonrpc": "2.0", "method": "rpc.discover"})) == b""


async def test_a_component_may_ask_as_well(start: Start) -> None:
    answers: asyncio.Queue[Any] = asyncio.Queue()

    async def ask(call: Call) -> None:
        if "method" not in call.message:
            await call.accept()
            await answers.put(call.message)
            return
        await call.stream()
        await call.event({**CALL, "id": "a"})
        await call.output((await answers.get())["result"]["openrpc"])

    async with ComponentServer(ask).running() as url:
        running = await start(components={"/t": url})
        flow = {"steps": [{"id": "a", "component": "/t/double"}], "output": {"$step": "a"}}
        flow_id = await running.grpc.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
        status = await running.grpc.submit(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True))
    assert [result.value for result in status.results or ()] == ['"1.3.2"']


async def test_examples_are_what_a_gateway_answers(start: Start) -> None:
    running, run_id = await start(), RUN_ID
    for method in EXAMPLES:
        if method in {"runs/watch", "runs/token"}:
            continue  # a stream, and a token that needs a key
        params = json.loads(json.dumps(EXAMPLES[method].params).replace(RUN_ID, run_id))
        answer = await post(running, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        assert stable(json.dumps(answer["result"])) == stable(json.dumps(EXAMPLES[method].result))
        run_id = answer["result"].get("runId", run_id)
