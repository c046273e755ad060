"""For whom the tasks of a run act, and which runs they are inside."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import BlobNotFound, PermissionDenied, RunNotFound
from gateway.core.model import ObservabilityContext, RunStatus, SubmitParams
from gateway.core.owner import Owner, Permission
from gateway.core.run_filter import RunFilter
from tests.support.embedded import Embedded, opened

FLOW = {"output": {"$input": "$"}}
MAY = (Permission.READ_BLOBS, Permission.READ, Permission.SUBMIT, Permission.WRITE_BLOBS)
ALICE = Owner("team-a", "alice", MAY, (("job", "nightly"),))
BOB = Owner("team-b", "bob")


@pytest.fixture(params=["memory", "file"])
async def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Embedded]:
    async with opened(tmp_path / "state.db" if request.param == "file" else None) as embedded:
        await embedded.start()
        yield embedded


async def submitted(embedded: Embedded, owner: Owner | None, inside: str | None = None, **params: Any) -> RunStatus:
    flow_id = await embedded.put(FLOW, params_namespace(owner))
    trace = None if inside is None else ObservabilityContext(run_id=inside)
    given = SubmitParams(flow_id=flow_id, inputs=["1"], wait=True, observability=trace, owner=owner, **params)
    return await embedded.service.submit(given)


def params_namespace(owner: Owner | None) -> str:
    return SubmitParams(flow_id="", inputs=[], owner=owner).namespace


async def test_a_run_has_an_owner_and_is_in_its_namespace(embedded: Embedded) -> None:
    run = await submitted(embedded, ALICE)
    assert run.namespace == "team-a"
    assert embedded.runtime.owner_of(f"{run.run_id}/0/step") == ALICE
    nobodys = await submitted(embedded, None)
    assert nobodys.namespace == "default"
    assert embedded.runtime.owner_of(nobodys.run_id) is None
    kept = await embedded.journal.load(run.run_id)
    assert kept is not None
    assert kept[0].namespace == "team-a"


@pytest.mark.parametrize(
    ("component", "given", "missing"),
    [
        ("put_blob", {"data": 1}, Permission.WRITE_BLOBS),
        ("get_blob", {"blob_id": "sha256:" + "0" * 64}, Permission.READ_BLOBS),
        ("map", {"workflow": {"steps": [], "output": 1}, "items": [1]}, Permission.SUBMIT),
    ],
)
async def test_a_run_may_no_more_than_its_owner(
    embedded: Embedded, component: str, given: dict[str, Any], missing: Permission
) -> None:
    step = {"id": "step", "component": f"/builtin/{component}", "input": given}
    flow_id = await embedded.put({"steps": [step], "output": {"$step": "step"}}, "team-a")
    owner = Owner("team-a", "alice", tuple(each for each in MAY if each is not missing))
    run = await embedded.service.submit(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True, owner=owner))
    assert run.results is not None
    error = run.results[0].error
    assert error is not None
    assert (error.code, missing in error.message) == (PermissionDenied.code, True)


async def test_nobody_acts_for_a_run_that_is_not_there(embedded: Embedded) -> None:
    for scope in ("", "01a2193a-d05f-7968-82f1-c10618dc6f7d/0/step"):
        with pytest.raises(RunNotFound):
            embedded.runtime.owner_of(scope)


async def test_what_a_run_submits_and_stores_is_its_owners(embedded: Embedded) -> None:
    blob = {"id": "blob", "component": "/builtin/put_blob", "input": {"data": {"some": "data"}}}
    stored = {"$step": "blob", "path": "blob_id"}
    again = {
        "id": "again",
        "component": "/builtin/get_blob",
        "input": {"blob_id": stored},
    }
    inner = {"steps": [blob], "output": {"$step": "blob"}}
    mapped = {"id": "map", "component": "/builtin/map", "input": {"workflow": inner, "items": [1]}}
    flow = {"steps": [blob, again, mapped], "output": [{"$step": "blob"}, {"$step": "again"}, {"$step": "map"}]}
    flow_id = await embedded.put(flow, "team-a")
    run = await embedded.service.submit(SubmitParams(flow_id=flow_id, inputs=["1"], wait=True, owner=ALICE))
    assert run.results is not None
    blob_id = json.loads(str(run.results[0].value))[0]["blob_id"]
    assert (await embedded.runtime.get_blob(f"sha256:{blob_id}", "team-a")).content == '{"some":"data"}'
    for namespace in ("default", "team-b"):
        with pytest.raises(BlobNotFound):
            await embedded.runtime.get_blob(f"sha256:{blob_id}", namespace)
    inside = [found async for part in embedded.journal.search(RunFilter(), None, newest_first=False) for found in part]
    nested = [found.record for found in inside if found.record.parent_id == run.run_id]
    assert [(record.namespace, json.loads(str(record.labels))) for record in nested] == [("team-a", {"job": "nightly"})]


async def test_a_run_is_inside_runs_of_its_namespace_only(embedded: Embedded) -> None:
    outer = await submitted(embedded, ALICE)
    assert (await submitted(embedded, ALICE, outer.run_id)).parent_run_id == outer.run_id
    for owner in (BOB, None):
        claimed = await submitted(embedded, owner, outer.run_id)
        assert (claimed.parent_run_id, claimed.root_run_id, claimed.depth) == (None, None, 0)
    nobodys = await submitted(embedded, None)
    assert (await submitted(embedded, BOB, nobodys.run_id)).parent_run_id is None
    assert (await submitted(embedded, Owner("default", "carol"), nobodys.run_id)).parent_run_id == nobodys.run_id


async def test_a_cancelled_run_of_another_namespace_refuses_nothing(embedded: Embedded) -> None:
    step = {"id": "s", "component": "/builtin/map", "input": {"workflow": FLOW, "items": {"$input": "$"}}}
    flow_id = await embedded.put({"steps": [step], "output": 1}, "team-a")
    items = json.dumps(list(range(20_000)))
    params = SubmitParams(flow_id=flow_id, inputs=[items], owner=ALICE)
    outer = await embedded.service.submit(params)
    await embedded.runtime.cancel(outer.run_id, None)
    assert (await submitted(embedded, BOB, outer.run_id)).parent_run_id is None


async def test_a_key_is_of_a_namespace(embedded: Embedded) -> None:
    runs = [await submitted(embedded, owner, idempotency_key="key") for owner in (None, ALICE, BOB)]
    assert len({run.run_id for run in runs}) == 3
    again = [await submitted(embedded, owner, idempotency_key="key") for owner in (None, ALICE, BOB)]
    assert [run.run_id for run in again] == [run.run_id for run in runs]
