"""A client in another language, made from nothing but the contract."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Gateway
from tests.support.node_packages import NODE, node_package

PROJECT = Path(__file__).parents[2]
FLOW = '{"name":"echo","steps":[],"output":{"$input":"$"}}'


async def output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


@pytest.fixture
def node() -> str:
    """The Node interpreter, with the client's packages installed."""
    if shutil.which("npm") is None and not os.environ.get("CI"):
        pytest.skip("npm was not found; CI runs this test")
    node_package("@grpc/proto-loader")
    return "node"


async def test_node_submits_and_follows_a_run(node: str, gateway: Gateway) -> None:
    inputs = ["1152921504606846977", "1e400", '{"b":1,"a":null}']
    printed = await output(
        node, str(NODE / "client.js"), gateway.addresses.grpc, str(PROJECT / "protos"), FLOW, *inputs
    )
    answer: dict[str, Any] = json.loads(printed)
    assert answer["submitted"]["flowName"] == "echo"
    assert answer["submitted"]["flowLabel"] == "from Node"
    last = answer["updates"][-1]
    assert last["runId"] == answer["submitted"]["runId"]
    assert last["status"] == "RUN_STATE_SUCCESS"
    assert last["items"]["success"] == 3
    results = [result for update in answer["updates"] for result in update["results"]]
    assert [result["value"]["json"] for result in results] == inputs
    assert answer["refused"]["code"] == 3
    assert "flow_id: expected 'sha256:'" in answer["refused"]["details"]
