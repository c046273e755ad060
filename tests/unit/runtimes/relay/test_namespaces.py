"""The namespaces of a gateway, seen through a relay of it, and through a worker."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.core.caller import CallerView
from gateway.core.errors import BlobNotFound, FlowNotFound, RunNotFound, Unsupported
from gateway.core.model import RunStatus, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner, Permission
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetChange, SetEvent, SetPart
from gateway.core.runtime import RunPage, Snapshot
from gateway.core.socket_directory import RUNTIME_SOCKET
from gateway.peers.grpc.upload import PART_LENGTH
from gateway.peers.link.messages import MAX_INPUTS
from gateway.runs.seen_runtime import SeenRuntime
from gateway.runtimes.relay.linked import LinkedRuntime
from gateway.runtimes.relay.runtime import RelayRuntime
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime
from tests.support.upstream import Upstream, linked_upstream

MINE, THEIRS = Owner("mine", "ann", (Permission.READ, Permission.SUBMIT)), Owner("theirs", "bob", (Permission.SUBMIT,))
EARLIER = Unsupported("the upstream gateway is of a release that knows no namespaces")
OLDEST = RunOrder.OLDEST_FIRST


class Followed(ScriptedRuntime):
    """Tells a set that has one change, and which sets were asked for. `earlier`: as a release without namespaces."""

    def __init__(self) -> None:
        super().__init__()
        self.sets: list[RunFilter] = []
        self.earlier = False

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        snapshot = await super().submit(params, scope)
        return replace(snapshot, status=self._told(snapshot.status)) if self.earlier else snapshot

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        if not self.earlier:
            return await super().list_runs(wanted, order, cursor, limit)
        page = await super().list_runs(replace(wanted, namespace=None), order, cursor, limit)
        return page._replace(runs=list(map(self._told, page.runs)))

    async def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        self.sets.append(wanted)
        snapshot = await self.get(self.run_ids[0])
        status = self._told(snapshot.status)
        yield SetPart([SetChange(SetEvent.ADDED, status.run_id, status, 1, b"1")], b"1")
        yield SetPart([], b"1", caught_up=True)

    def _told(self, status: RunStatus) -> RunStatus:
        return replace(status, namespace=DEFAULT_NAMESPACE) if self.earlier else status


@pytest.fixture
def scripted() -> Followed:
    return Followed()


@pytest.fixture(params=["relay", "worker"])
async def relay(request: pytest.FixtureRequest, scripted: Followed, home: Path) -> AsyncIterator[RelayRuntime]:
    upstream = Upstream(scripted, home / "relayed.sock")
    await upstream.start()
    async with linked_upstream(scripted, home):
        runtime = RelayRuntime(upstream.address)
        if request.param == "worker":
            runtime = LinkedRuntime(f"unix:{home / RUNTIME_SOCKET}")
        assert await runtime.connect(10)
        yield runtime
        await runtime.close()
    await upstream.stop()


async def submitted(relay: RelayRuntime, owner: Owner | None, items: int = 1, key: str | None = None) -> str:
    flow_id = await relay.put_blob(FLOW, DEFAULT_NAMESPACE if owner is None else owner.namespace)
    params = SubmitParams(flow_id=flow_id, inputs=["1"] * items, owner=owner, idempotency_key=key)
    return (await relay.submit(params, "")).status.run_id


@pytest.mark.parametrize("items", [1, MAX_INPUTS + 1, PART_LENGTH + 1])
async def test_runs_are_in_their_namespaces(scripted: Followed, relay: RelayRuntime, items: int) -> None:
    run_ids = [await submitted(relay, owner, items, key="k") for owner in (MINE, THEIRS, None)]
    assert len(set(run_ids)) == 3
    for run_id, namespace in zip(run_ids, ("mine", "theirs", DEFAULT_NAMESPACE), strict=True):
        owner = scripted.params(run_id).owner
        assert (owner.namespace if owner else DEFAULT_NAMESPACE) == namespace
        if isinstance(relay, LinkedRuntime):
            assert owner in (MINE, THEIRS, None)
        assert (await relay.get(run_id)).status.namespace == namespace
        wanted = RunFilter(namespace=namespace)
        assert [run.run_id for run in (await relay.list_runs(wanted, OLDEST, "", 10)).runs] == [run_id]
        assert await relay.count_runs(wanted) == 1
    assert await relay.count_runs(RunFilter()) == 3


async def test_blobs_are_in_their_namespaces(relay: RelayRuntime) -> None:
    blob_id = await relay.put_blob(FLOW, "mine")
    assert await relay.get_blob(blob_id) == await relay.get_blob(blob_id, "mine") == FLOW
    for namespace in ("theirs", DEFAULT_NAMESPACE):
        with pytest.raises(BlobNotFound):
            await relay.get_blob(blob_id, namespace)
    with pytest.raises(FlowNotFound):
        await relay.submit(SubmitParams(flow_id=blob_id, inputs=[], owner=THEIRS), "")


async def test_what_a_view_hides_is_hidden_behind_a_relay(relay: RelayRuntime) -> None:
    seen, run_id = SeenRuntime(relay, CallerView("mine")), await submitted(relay, THEIRS)
    for hidden in (run_id, MISSING_RUN):
        with pytest.raises(RunNotFound, match=f"^no run has the id '{hidden}'$"):
            await seen.get(hidden)
        with pytest.raises(RunNotFound, match=f"^no run has the id '{hidden}'$"):
            async with aclosing(seen.watch(hidden)) as changes:
                await anext(changes)


async def test_sets_are_those_of_the_namespace(scripted: Followed, relay: RelayRuntime) -> None:
    run_id = await submitted(relay, MINE)
    async with aclosing(relay.watch_set(RunFilter(namespace="mine"), b"", only_new=False)) as parts:
        part = await anext(parts)
    assert [change.run_id for change in part.changes] == [run_id]
    assert {wanted.namespace for wanted in scripted.sets} == {"mine"}


async def test_an_upstream_that_knows_no_namespaces_is_refused(scripted: Followed, tmp_path: Path) -> None:
    upstream = Upstream(scripted, tmp_path / "upstream.sock")
    await upstream.start()
    relay = RelayRuntime(upstream.address)
    scripted.earlier = True
    run_id = await submitted(relay, None)
    with pytest.raises(Unsupported, match=EARLIER.message):
        await submitted(relay, MINE)
    wanted = RunFilter(namespace="mine")
    for call in (relay.list_runs(wanted, OLDEST, "", 10), relay.count_runs(wanted)):
        with pytest.raises(Unsupported, match=EARLIER.message):
            await call
    with pytest.raises(Unsupported, match=EARLIER.message):
        async with aclosing(relay.watch_set(wanted, b"", only_new=False)) as parts:
            await anext(parts)
    assert (await relay.get(run_id)).status.namespace == DEFAULT_NAMESPACE
    await relay.close()
    await upstream.stop()
