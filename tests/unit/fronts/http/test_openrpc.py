"""The method `rpc.discover`."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.access.method_permissions import JSONRPC_PERMISSIONS
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.fronts.http.openrpc import openrpc_document
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.scripted_runtime import ScriptedRuntime


@pytest.fixture
async def methods() -> AsyncIterator[JsonRpcMethods]:
    service = RunsService(ScriptedRuntime(), grace=0)
    yield JsonRpcMethods(RunsServices(service))
    await service.close()


async def discover(methods: JsonRpcMethods, **members: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", **members}
    answer = await methods.call(json.dumps(body).encode())
    return None if answer is None else json.loads(answer)


@pytest.mark.parametrize("members", [{}, {"params": {}}, {"params": []}, {"params": None}, {"params": {"_meta": {}}}])
async def test_it_answers_with_the_document(methods: JsonRpcMethods, members: dict[str, Any]) -> None:
    assert (await discover(methods, **members))["result"] == json.loads(openrpc_document())


@pytest.mark.parametrize("params", [{"x": 1}, [1], "x"])
async def test_it_has_no_parameters(methods: JsonRpcMethods, params: Any) -> None:
    assert (await discover(methods, params=params))["error"]["code"] == -32602


async def test_it_may_be_a_part_of_a_batch(methods: JsonRpcMethods) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}
    batch = [call, {**call, "id": 2}, {"jsonrpc": "2.0", "method": "rpc.discover"}, {**call, "method": "x"}]
    answers = json.loads(await methods.call(json.dumps(batch).encode()) or b"")
    assert [answer.get("result") == json.loads(openrpc_document()) for answer in answers] == [True, True, False]


def test_the_document_has_all_methods_and_says_what_they_need(methods: JsonRpcMethods) -> None:
    document = json.loads(openrpc_document())
    assert [method["name"] for method in document["methods"]] == list(methods.names)
    assert {method["name"]: method.get("x-permission") for method in document["methods"]} == JSONRPC_PERMISSIONS


def test_the_document_is_made_once() -> None:
    assert openrpc_document() is openrpc_document()
