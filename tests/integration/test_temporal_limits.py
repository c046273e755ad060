"""Hostile submits on a Temporal server: all that other runtimes take, or it is told which field is too long."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from gateway.core.control import ListParams
from gateway.core.errors import InvalidParams
from gateway.core.model import (
    MAX_KEY_LENGTH,
    MAX_LABELS,
    Blob,
    BlobType,
    GetParams,
    ObservabilityContext,
    RunState,
    SubmitParams,
)
from gateway.core.run_filter import RunFilter
from tests.integration.conftest import Gateway, Start
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

WIDE = "\U0001f600" * MAX_KEY_LENGTH
"""As many bytes as a text of its length can have."""

QUOTES = "'\"\\\n\t\0,=[]"


@pytest.fixture
async def gateway(temporal_server: TemporalServer, start: Start, tmp_path: Path) -> Gateway:
    return await start(runtime=temporal_server.runtime(f"test-{uuid.uuid4()}"), blobs=f"file://{tmp_path}")


async def submit(gateway: Gateway, *, name: str | None = None, **params: Any) -> RunState:
    flow = {"output": {"$input": "$"}} if name is None else {"name": name, "output": {"$input": "$"}}
    flow_id = await gateway.grpc.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
    run = await gateway.grpc.submit(SubmitParams(**{"flow_id": flow_id, "inputs": ["1"], "wait": True, **params}))
    seen = await gateway.jsonrpc.get(GetParams(run_id=run.run_id))
    assert (seen.flow_label, seen.labels, seen.flow_name) == (params.get("flow_label"), params.get("labels", {}), name)
    return run.status


@pytest.mark.parametrize("text", ["v" * MAX_KEY_LENGTH, WIDE, QUOTES], ids=["long", "wide", "quotes"])
async def test_labels_may_be_as_long_as_anywhere(gateway: Gateway, text: str) -> None:
    labels = {f"{number:02}{text}"[:MAX_KEY_LENGTH]: text for number in range(MAX_LABELS)}
    assert await submit(gateway, flow_label=text, labels=labels, idempotency_key=text) is RunState.SUCCESS
    name, value = next(iter(labels.items()))
    for filters in (RunFilter(labels={name: value}), RunFilter(flow_label=text)):
        assert len((await gateway.grpc.list_runs(ListParams(filter=filters))).runs) == 1
    assert not (await gateway.grpc.list_runs(ListParams(filter=RunFilter(labels={name: value[:-1]})))).runs


@pytest.mark.parametrize("name", ["n" * 100_000, WIDE, QUOTES], ids=["long", "wide", "quotes"])
async def test_flows_may_have_long_names(gateway: Gateway, name: str) -> None:
    assert await submit(gateway, name=name) is RunState.SUCCESS


async def test_what_is_too_long_for_the_engine_is_named(gateway: Gateway) -> None:
    traced = ObservabilityContext(extensions={"x": json.dumps("y" * 1_000_000)})
    with pytest.raises(InvalidParams) as refused:
        await submit(gateway, observability=traced)
    assert [violation.path for violation in refused.value.violations] == [("observability",)]
    with pytest.raises(InvalidParams) as refused:
        await submit(gateway, name="n" * 1_000_000)
    assert [violation.path for violation in refused.value.violations] == [("flow_id",)]


async def test_long_inputs_and_variables_do_not_go_through_the_engine(gateway: Gateway) -> None:
    long = json.dumps(WIDE * 1_000, ensure_ascii=False)
    assert await submit(gateway, inputs=[long] * 10, variables={"v": long}) is RunState.SUCCESS


async def test_a_million_inputs_are_accepted(gateway: Gateway) -> None:
    async with asyncio.timeout(60):
        assert await submit(gateway, inputs=["1"] * 1_000_000, wait=False) in (RunState.PENDING, RunState.RUNNING)
