"""Each runtime can do what the table says, and refuses the rest as what it cannot do."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from msgspec.structs import replace

from gateway.adapter.blobs_proto import blob_to_put_request
from gateway.adapter.grpc_status import from_status
from gateway.adapter.params_proto import submit_params_to_proto
from gateway.core.control import CancelParams, DeleteParams, ItemsParams, ListParams
from gateway.core.errors import Unsupported
from gateway.core.model import Blob, BlobType, SubmitParams
from gateway.core.run_filter import RunFilter
from runs.v1 import runs_pb2
from tests.conformance import abilities
from tests.conformance.abilities import TARGET, Ability, table
from tests.conformance.differences import DOCUMENT_FILE
from tests.support.runtimes import RUNTIMES, gateway_over
from tests.support.tables import with_table
from tests.support.updates import GrpcFollower

CODES = {code.value[0]: code for code in grpc.StatusCode}
ECHO = Blob('{"name":"echo","steps":[],"output":{"$input":"$"}}', BlobType.FLOW)


def test_the_document_has_the_table() -> None:
    document = DOCUMENT_FILE.read_text()
    assert document == with_table(document, TARGET, table()), f"`make {TARGET}` writes it anew"


@pytest.fixture(params=RUNTIMES)
async def there(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[str, GrpcFollower]]:
    async with gateway_over(request.param, tmp_path) as addresses:
        client = GrpcFollower(addresses.grpc)
        yield request.param, client
        await client.close()


async def follow(client: GrpcFollower) -> None:
    """Follow all runs until the present is complete."""
    request = runs_pb2.WatchRunsRequest(add_set=runs_pb2.WatchSet(name="all"))
    call = client.runs.WatchRuns(iter([request]))
    try:
        async for response in call:
            if response.HasField("error"):
                code = CODES[response.error.code]
                raise from_status(code, response.error.message, response.error.status_details)
            if response.HasField("caught_up"):
                return
    finally:
        call.cancel()


async def keep_apart(client: GrpcFollower) -> None:
    """Put a flow and submit a run in one namespace: another one has neither."""
    mine, theirs = ((("runs-namespace", name),) for name in ("mine", "theirs"))
    request = blob_to_put_request(ECHO)
    flow_id = (await client.blobs.PutBlob(request, metadata=mine)).blob_id
    submit = submit_params_to_proto(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True))
    run = (await client.runs.SubmitRun(submit, metadata=mine)).run
    assert run.namespace == "mine"
    await client.runs.GetRun(runs_pb2.GetRunRequest(run_id=run.run_id), metadata=mine).read()
    for call in (
        client.runs.GetRun(runs_pb2.GetRunRequest(run_id=run.run_id), metadata=theirs).read(),
        client.runs.SubmitRun(submit, metadata=theirs),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.slow
async def test_each_runtime_can_do_what_the_table_says(there: tuple[str, GrpcFollower]) -> None:
    runtime, client = there
    params = SubmitParams(flow_id=await client.put_blob(ECHO), inputs=["1"], wait=True)
    run_id = (await client.submit(params)).run_id
    some = RunFilter(flow_name="ec*", labels={"a": "b"}, roots_only=True, created_after=0)
    acts: list[tuple[Ability, Callable[[], Awaitable[object]]]] = [
        (abilities.CANCEL, lambda: client.cancel(CancelParams(run_id=run_id))),
        (abilities.LIST, lambda: client.list_runs(ListParams(filter=some))),
        (abilities.COUNT, lambda: client.list_runs(ListParams(include_total=True))),
        (abilities.ITEMS, lambda: client.items(ItemsParams(run_id=run_id))),
        (abilities.SETS, lambda: follow(client)),
        (abilities.LABELS, lambda: client.submit(replace(params, labels={"a": "b"}))),
        (abilities.EXECUTION_TIMEOUT, lambda: client.submit(replace(params, execution_timeout=60.0))),
        (abilities.NAMESPACES, lambda: keep_apart(client)),
        (abilities.DELETE, lambda: client.delete(DeleteParams(run_id=run_id))),
    ]
    for ability, act in acts:
        if ability.on(runtime).startswith("no: "):
            with pytest.raises(Unsupported):
                await act()
        else:
            await act()
