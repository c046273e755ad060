"""Event streams of the whole gateway: they tell what the other fronts tell, and outlive restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.adapter.params_json import resume_token_from_text, resume_token_to_text
from gateway.adapter.status_from_json import run_status_from_json
from gateway.core.model import Blob, BlobType, GetParams, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from tests.integration.conftest import DATA, Gateway, command
from tests.support.clients import JsonRpcClient
from tests.support.event_stream import Event, folded, following

ECHO = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
ONE_HANGS = (
    '{"steps":[{"id":"hangs","component":"/own/hang"}],'
    '"output":{"$if":{"$input":"hangs"},"then":{"$step":"hangs"},"else":{"$input":"value"}}}'
)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(read_bufsize=1 << 26) as session:
        yield session


async def submit(client: JsonRpcClient, flow: str, inputs: list[str], **params: Any) -> RunStatus:
    flow_id = await client.put_blob(Blob(flow, BlobType.FLOW))
    return await client.submit(SubmitParams(flow_id=flow_id, inputs=inputs, **params))


@pytest.mark.parametrize(("order", "include"), list(product(ResultOrder, (False, True))))
async def test_every_front_tells_the_same(
    gateway: Gateway, session: aiohttp.ClientSession, order: ResultOrder, *, include: bool
) -> None:
    inputs = [str(2**60 + index) for index in range(300)]
    run_id = (await submit(gateway.jsonrpc, ECHO, inputs, max_concurrency=7)).run_id
    params = {"runId": run_id, "wait": True, "includeResults": include, "resultOrder": order.value}
    async with following(session, f"http://{gateway.addresses.http}/", params) as events:
        *notifications, response = [event async for event in events]
    single = GetParams(run_id=run_id, wait=True, include_results=include, result_order=order)
    assert folded(notifications) == response.message["result"]
    answer = run_status_from_json(response.data.partition('"result":')[2][:-1])
    assert answer == await gateway.jsonrpc.get(single)
    assert answer == await gateway.grpc.get(single)


async def test_a_token_of_one_front_goes_on_at_the_other(gateway: Gateway, session: aiohttp.ClientSession) -> None:
    run_id = (await submit(gateway.jsonrpc, ECHO, [str(index) for index in range(300)], wait=True)).run_id
    url = f"http://{gateway.addresses.http}/"
    params = {"runId": run_id, "wait": True, "includeResults": True}
    async with following(session, url, params) as events:
        first = await anext(events)
    assert first.id is not None
    follow = GetParams(run_id=run_id, wait=True, include_results=True, resume_token=resume_token_from_text(first.id))
    async with aclosing(gateway.grpc.follow(follow)) as stream:
        rest = [result.item_index async for status in stream for result in status.results or []]
    sent = [result["itemIndex"] for result in first.params["results"]]
    assert sent + rest == list(range(300))
    assert resume_token_to_text(follow.resume_token) == first.id


async def test_a_stream_that_a_restart_ends_goes_on_after_it(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    settings = ServeSettings.model_validate(
        {
            "grpc_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "state": f"{tmp_path}/state.db",
            "components": {"own": command(DATA / "components/plain_server.py")},
        }
    )
    params: dict[str, object] = {"wait": True, "includeResults": True, "resultOrder": "byCompletion"}
    events: list[Event] = []
    stopping = asyncio.Event()

    async with running(settings) as addresses:
        client = JsonRpcClient(addresses.http)
        inputs = ['{"value":1}', '{"hangs":true}', '{"value":2}']
        params["runId"] = (await submit(client, ONE_HANGS, inputs)).run_id
        await client.close()

        async def follow() -> Event:
            async with following(session, f"http://{addresses.http}/", params) as stream:
                async for event in stream:
                    if event.id is None:
                        return event
                    events.append(event)
                    if sum(len(told.params["results"]) for told in events) == 2:
                        stopping.set()
            raise AssertionError("the stream was cut")

        ending = asyncio.create_task(follow())
        await stopping.wait()
    error = (await ending).message["error"]
    assert (error["code"], error["data"]["retryAfterSecs"] > 0) == (-32015, True)

    again, token = {**params, "timeoutSecs": 0}, events[-1].id
    async with running(settings) as addresses:
        client = JsonRpcClient(addresses.http)
        while not (await client.get(GetParams(run_id=str(params["runId"])))).items.running:
            pass  # It goes on after the fronts serve. What follows is one state.
        await client.close()
        async with following(session, f"http://{addresses.http}/", again, last_event_id=token) as stream:
            *rest, response = [event async for event in stream]
    assert all(event.params["results"] == [] and "restarted" not in event.params for event in rest)
    assert [event.params["revision"] for event in rest] >= [events[-1].params["revision"]]
    assert folded([*events, *rest]) == response.message["result"]
    assert response.message["result"]["status"] == RunState.RUNNING
    assert {result["itemIndex"] for result in response.message["result"]["results"]} == {0, 2}
