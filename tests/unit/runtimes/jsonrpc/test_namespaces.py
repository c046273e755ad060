"""Namespaces over real connections: of another gateway, which knows them, and of a server that does not."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from gateway.core.caller import CallerView
from gateway.core.errors import BlobNotFound, FlowNotFound, GatewayError, RunNotFound, Unsupported
from gateway.core.model import SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.runs.seen_runtime import SeenRuntime
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.storage.idempotency import Keys
from tests.support.document_server import DocumentServer
from tests.support.http_upstream import HttpUpstream
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime

MINE, THEIRS = Owner("mine", "ann"), Owner("theirs", "bob")
NAMESPACES = ("mine", "theirs", DEFAULT_NAMESPACE)


@pytest.fixture
def scripted() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture(params=["superset", "document"])
async def server(
    request: pytest.FixtureRequest, scripted: ScriptedRuntime
) -> AsyncIterator[HttpUpstream | DocumentServer]:
    server = HttpUpstream(scripted) if request.param == "superset" else DocumentServer(scripted)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def keys() -> AsyncIterator[Keys]:
    keys = await Keys.open(":memory:")
    yield keys
    await keys.close()


@pytest.fixture
async def runtime(server: HttpUpstream | DocumentServer, keys: Keys) -> AsyncIterator[JsonRpcRuntime]:
    runtime = JsonRpcRuntime(f"jsonrpc+{server.url}", keys)
    assert await runtime.connect(10)
    yield runtime
    await runtime.close()


async def submitted(runtime: JsonRpcRuntime, owner: Owner | None, key: str | None = None, scope: str = "") -> str:
    flow_id = await runtime.put_blob(FLOW, DEFAULT_NAMESPACE if owner is None else owner.namespace)
    params = SubmitParams(flow_id=flow_id, inputs=["1"], owner=owner, idempotency_key=key)
    snapshot = await runtime.submit(params, scope)
    assert snapshot.status.namespace == params.namespace
    return snapshot.status.run_id


@pytest.mark.parametrize("key", ["k", None])
async def test_runs_are_in_their_namespaces(server: object, runtime: JsonRpcRuntime, key: str | None) -> None:
    run_ids = [await submitted(runtime, owner, key) for owner in (MINE, THEIRS, None)]
    assert len(set(run_ids)) == 3
    if key is not None:
        assert [await submitted(runtime, owner, key) for owner in (MINE, THEIRS, None)] == run_ids
        assert await submitted(runtime, MINE, key, "task") not in run_ids
    for run_id, namespace in zip(run_ids, NAMESPACES, strict=True):
        assert (await runtime.get(run_id)).status.namespace == namespace
        owner = await runtime.owner_of_run(run_id)
        assert (owner.namespace if owner else DEFAULT_NAMESPACE) == namespace
        # Another gateway keeps for itself who the owner is.
        assert isinstance(server, HttpUpstream) or owner in (MINE, THEIRS, None)
        found = await runtime.get_since(run_id, 0)
        assert found is not None
        assert found.status.namespace == namespace
        async with aclosing(runtime.watch(run_id)) as changes:
            assert (await anext(changes)).status.namespace == namespace


async def test_lists_are_those_of_the_namespace(server: object, runtime: JsonRpcRuntime) -> None:
    run_id = await submitted(runtime, MINE)
    await submitted(runtime, THEIRS)
    wanted = RunFilter(namespace="mine")
    if isinstance(server, DocumentServer):
        with pytest.raises(Unsupported):
            await runtime.list_runs(wanted, RunOrder.NEWEST_FIRST, "", 10)
        return
    page = await runtime.list_runs(wanted, RunOrder.NEWEST_FIRST, "", 10)
    assert [run.run_id for run in page.runs] == [run_id]
    assert await runtime.count_runs(wanted) == 1
    assert await runtime.count_runs(RunFilter()) == 2


async def test_blobs_are_in_their_namespaces(runtime: JsonRpcRuntime) -> None:
    blob_id = await runtime.put_blob(FLOW, "mine")
    assert await runtime.get_blob(blob_id) == await runtime.get_blob(blob_id, "mine")
    failures: dict[str, GatewayError] = {}
    for namespace in ("theirs", DEFAULT_NAMESPACE):
        for missing in (blob_id, MISSING_BLOB):
            with pytest.raises(BlobNotFound) as caught:
                await SeenRuntime(runtime, CallerView(namespace)).get_blob(missing)
            failures[missing] = caught.value
    assert {failure.message for failure in failures.values()} == {f"no blob has the id '{each}'" for each in failures}
    await runtime.put_blob(FLOW, "theirs")
    assert (await runtime.get_blob(blob_id, "theirs")).type is FLOW.type


async def test_a_flow_of_another_namespace_is_one_that_does_not_exist(runtime: JsonRpcRuntime) -> None:
    flow_id = await runtime.put_blob(FLOW, "mine")
    told = []
    for missing in (flow_id, MISSING_BLOB):
        for owner in (THEIRS, Owner(identity="carl")):
            with pytest.raises(FlowNotFound) as caught:
                await runtime.submit(SubmitParams(flow_id=missing, inputs=["1"], owner=owner), "")
            told.append(caught.value.message.replace(missing, "ID"))
    assert len(set(told)) == 1


async def test_what_was_stored_elsewhere_is_of_the_default_namespace(
    scripted: ScriptedRuntime, runtime: JsonRpcRuntime
) -> None:
    blob_id = await scripted.put_blob(FLOW)
    assert (await runtime.get_blob(blob_id, DEFAULT_NAMESPACE)).type is FLOW.type
    with pytest.raises(BlobNotFound):
        await runtime.get_blob(blob_id, "mine")
    run_id = (await scripted.submit(SubmitParams(flow_id=blob_id, inputs=["1"]), "")).status.run_id
    assert (await runtime.get(run_id)).status.namespace == DEFAULT_NAMESPACE
    # It has been used there: that another namespace has it as well changes nothing.
    await runtime.submit(SubmitParams(flow_id=blob_id, inputs=["1"], owner=Owner(identity="carl")), "")
    await runtime.put_blob(FLOW, "mine")
    assert (await runtime.get_blob(blob_id, DEFAULT_NAMESPACE)).type is FLOW.type


async def test_a_view_hides_the_runs_of_others(runtime: JsonRpcRuntime) -> None:
    run_id, seen = await submitted(runtime, THEIRS), SeenRuntime(runtime, CallerView("mine"))
    for hidden in (run_id, MISSING_RUN):
        with pytest.raises(RunNotFound, match=f"^no run has the id '{hidden}'$"):
            await seen.get(hidden)
