"""An item that fails leaves no cycle, in whatever way it fails; neither does a step that is cancelled."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.core.model import Blob, BlobType, RunState, RunStatus, SubmitParams
from tests.support.component_server import Call
from tests.support.cycles import LARGE, TEXT, Gateway, embedded, leaves_nothing
from tests.support.scripted_runtime import MISSING_BLOB

INPUT = {"$input": "$"}


def step(name: str, component: str = "/t/double", value: object = INPUT, **members: object) -> dict[str, object]:
    return {"id": name, "component": component, "input": value, **members}


def flow(*steps: object, output: object = None) -> dict[str, object]:
    return {"steps": steps, "output": {"$step": "a"} if output is None else output}


async def run(gateway: Gateway, document: object, items: int = 1) -> RunStatus:
    """Run a flow whose inputs are a payload each."""
    flow_id = await gateway.service.put_blob(Blob(json.dumps(document), BlobType.FLOW))
    return await gateway.service.submit(SubmitParams(flow_id=flow_id, inputs=[TEXT] * items, wait=True))


async def refuse(call: Call) -> None:
    await call.error(-32100, LARGE)


async def vanish(call: Call) -> None:
    call.abort()


async def answer_nonsense(call: Call) -> None:
    await call.respond(LARGE.encode())


async def answer_without_output(call: Call) -> None:
    await call.result({"value": LARGE})


async def ask_and_fail(call: Call) -> None:
    """Make requests that fail, and read the answers, then fail."""
    if "method" not in call.message:
        await call.accept()
        return
    await call.stream()
    params = {"flowId": MISSING_BLOB, "inputs": [LARGE]}
    for number in range(3):
        await call.event({"jsonrpc": "2.0", "id": number, "method": "runs/submit", "params": params})
    error = {"code": -32100, "message": LARGE}
    await call.event({"jsonrpc": "2.0", "id": call.message["id"], "error": error})


async def end_the_stream(call: Call) -> None:
    await call.stream()
    await call.event({"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": LARGE}})
    await call.chunk(b"")


@pytest.mark.parametrize(
    "script", [refuse, vanish, answer_nonsense, answer_without_output, ask_and_fail, end_the_stream]
)
@pytest.mark.parametrize("on_error", [None, {"action": "useDefault", "defaultValue": 1}, {"action": "retry"}])
async def test_a_component_that_fails(
    script: Callable[[Call], Awaitable[None]], on_error: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    members: dict[str, Any] = {} if on_error is None else {"onError": on_error}

    async def fails(gateway: Gateway) -> None:
        status = await run(gateway, flow(step("a", **members)), items=3)
        assert status.status is (RunState.SUCCESS if "useDefault" in str(on_error) else RunState.FAILED)

    await leaves_nothing(fails, embedded(script))


MAP = step("a", "/builtin/map", {"workflow": {"$literal": flow(step("a"))}, "items": [INPUT, INPUT]})

FAILING: dict[str, Any] = {
    "an expression": flow(output={"$input": "$.missing"}),
    "the input of a step": flow(step("a", value={"$input": "$.missing"})),
    "a missing variable": flow(output=[INPUT, {"$variable": "$.missing"}]),
    "a built-in": flow(step("a", "/builtin/eval")),
    "an unknown flow": flow(step("a", "/builtin/eval", {"flow_id": MISSING_BLOB, "input": INPUT})),
    "an unknown blob": flow(step("a", "/builtin/get_blob", {"blob_id": MISSING_BLOB, "more": INPUT})),
    "a malformed flow": flow(step("a", "/builtin/put_blob", {"blob_type": "flow", "data": {"steps": INPUT}})),
    "an iteration": flow(
        step("a", "/builtin/iterate", {"flow": {"$literal": flow(step("a"))}, "initial_input": INPUT})
    ),
    "one of two steps": flow(step("a"), step("b"), output=[{"$step": "a"}, {"$step": "b"}]),
    "both of two steps, and an expression": flow(
        step("a"), step("b"), output=[{"$step": "a"}, {"$step": "b"}, {"$input": "$.missing"}]
    ),
}


async def refuse_all_but_b(call: Call) -> None:
    """Refuse every step but b. An answer to b could cross its cancellation, and the HTTP client then keeps it."""
    if call.message["params"]["observability"].get("step_id") == "b":
        await call.closed()
    else:
        await refuse(call)


@pytest.mark.parametrize("kind", FAILING)
async def test_an_item_that_fails(kind: str) -> None:
    async def fails(gateway: Gateway) -> None:
        assert (await run(gateway, FAILING[kind], items=20)).status is RunState.FAILED

    await leaves_nothing(fails, embedded(refuse_all_but_b))


async def test_an_item_whose_inner_items_fail() -> None:
    async def fails(gateway: Gateway) -> None:
        assert (await run(gateway, flow(MAP))).status is RunState.SUCCESS

    await leaves_nothing(fails, embedded(refuse))


async def test_a_step_that_has_become_useless() -> None:
    began = asyncio.Event()

    async def script(call: Call) -> None:
        if call.message["params"]["component"] == "/double":
            began.set()
            await call.closed()
        else:
            await began.wait()
            await call.error(-32100, LARGE)

    async def fails(gateway: Gateway) -> None:
        steps = (step("a"), step("b", "/t/echo"))
        status = await run(gateway, flow(*steps, output=[{"$step": "b"}, {"$step": "a"}]))
        assert status.status is RunState.FAILED

    await leaves_nothing(fails, embedded(script))


async def test_items_that_stop_with_the_gateway() -> None:
    began = asyncio.Event()

    async def script(call: Call) -> None:
        began.set()
        await call.closed()

    async def stops(gateway: Gateway) -> None:
        flow_id = await gateway.service.put_blob(Blob(json.dumps(flow(step("a"))), BlobType.FLOW))
        params = {"flowId": flow_id, "inputs": [LARGE], "wait": True}
        body = {"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": params}
        running = asyncio.create_task(gateway.post(body))
        await began.wait()
        await gateway.runtime.drain()
        assert b"-32015" in (await running)[1]

    await leaves_nothing(stops, embedded(script))
