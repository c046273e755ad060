from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from gateway.core.caller import CallerView
from gateway.core.clock import LATEST
from gateway.core.errors import (
    BlobNotFound,
    FlowNotFound,
    GatewayError,
    InvalidParams,
    PermissionDenied,
    RunNotFound,
    Unsupported,
)
from gateway.core.model import ObservabilityContext, ResultOrder, RunState, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetPart
from gateway.core.runtime import Page, Runtime, Snapshot
from gateway.runs.seen_runtime import SHOWN_RUNS, SeenRuntime
from tests.support.embedded import opened
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime

MINE, THEIRS = Owner("mine", "team-a"), Owner("theirs", "team-b")
VIEW = CallerView("mine")
X = (("team", "x"),)
PAGE = Page(ResultOrder.BY_INDEX, 0, 1, 0, 1)
NEWEST = RunOrder.NEWEST_FIRST


class CountedReads(ScriptedRuntime):
    """`gets` counts the states that were read."""

    def __init__(self) -> None:
        super().__init__()
        self.gets = 0
        self.sets: list[RunFilter] = []

    async def get(self, run_id: str) -> Snapshot:
        self.gets += 1
        return await super().get(run_id)

    async def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        self.sets.append(wanted)
        yield SetPart([], position, caught_up=True)


@pytest.fixture
def runtime() -> CountedReads:
    return CountedReads()


async def submitted(runtime: Runtime, owner: Owner | None, **params: Any) -> str:
    namespace = DEFAULT_NAMESPACE if owner is None else owner.namespace
    flow_id = await runtime.put_blob(FLOW, namespace)
    return (await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["1"], owner=owner, **params), "")).status.run_id


async def watched(runtime: Runtime, run_id: str) -> Snapshot:
    async with aclosing(runtime.watch(run_id)) as changes:
        return await anext(changes)


CALLS: dict[str, Callable[[Runtime, str], Awaitable[object]]] = {
    "get": lambda runtime, run_id: runtime.get(run_id),
    "get since": lambda runtime, run_id: runtime.get_since(run_id, 0),
    "get since the future": lambda runtime, run_id: runtime.get_since(run_id, 1_000),
    "watch": watched,
    "results": lambda runtime, run_id: runtime.results(run_id, PAGE),
    "items": lambda runtime, run_id: runtime.items(run_id, (), 0, 10, with_inputs=True),
    "cancel": lambda runtime, run_id: runtime.cancel(run_id, None),
    "delete": lambda runtime, run_id: runtime.delete(run_id, cancel=True),
}
"""Every call that names a run."""


async def failure_of(call: Awaitable[object]) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await call
    return raised.value


@pytest.mark.parametrize("call", CALLS)
async def test_a_hidden_run_is_one_that_does_not_exist(runtime: CountedReads, call: str) -> None:
    theirs = await submitted(runtime, THEIRS)
    nobodys = await submitted(runtime, None)
    seen = SeenRuntime(runtime, VIEW)
    reads = []
    for run_id in (theirs, nobodys, MISSING_RUN):
        before = runtime.gets
        failure = await failure_of(CALLS[call](seen, run_id))
        assert (type(failure), failure.message) == (RunNotFound, f"no run has the id '{run_id}'")
        assert (failure.data, failure.retry_after) == (None, None)
        reads.append(runtime.gets - before)
    # A watch and `get_since` read a hidden run as they read any; then they say no more of it.
    assert reads[0] == reads[1]
    assert reads[0] == reads[2] or call == "get since the future"
    assert (await runtime.get(theirs)).status.status is RunState.PENDING


@pytest.mark.parametrize("call", CALLS)
async def test_a_run_in_the_view_is_there(runtime: CountedReads, call: str) -> None:
    run_id = await submitted(runtime, MINE)
    await runtime.succeed(0)
    await CALLS[call](SeenRuntime(runtime, VIEW), run_id)


@pytest.mark.parametrize("call", CALLS)
async def test_what_a_view_shows_is_asked_once(runtime: CountedReads, call: str) -> None:
    run_id = await submitted(runtime, MINE)
    seen = SeenRuntime(runtime, VIEW)
    await seen.get(run_id)
    before = runtime.gets
    await CALLS[call](seen, run_id)
    assert runtime.gets - before <= 1


async def test_what_is_known_of_a_view_is_bounded(runtime: CountedReads) -> None:
    seen = SeenRuntime(runtime, VIEW)
    for _ in range(SHOWN_RUNS + 10):
        await seen.get(await submitted(runtime, MINE))
    assert len(seen._shown) == SHOWN_RUNS


async def test_lists_and_counts_tell_the_view_only(runtime: CountedReads) -> None:
    mine = [await submitted(runtime, MINE) for _ in range(3)]
    await submitted(runtime, THEIRS)
    seen = SeenRuntime(runtime, VIEW)
    page = await seen.list_runs(RunFilter(), RunOrder.OLDEST_FIRST, "", 10)
    assert ([run.run_id for run in page.runs], page.cursor) == (mine, "")
    assert await seen.count_runs(RunFilter()) == 3
    assert await seen.count_runs(RunFilter(namespace="theirs")) == 0
    assert (await seen.list_runs(RunFilter(namespace="theirs"), NEWEST, "", 10)).runs == []


async def test_a_view_with_labels(runtime: CountedReads) -> None:
    seen = SeenRuntime(runtime, CallerView("mine", labels=(("team", "x"),)))
    other = await submitted(runtime, MINE, labels={"team": "y"})
    run_id = await submitted(seen, MINE, labels={"kind": "z"})
    assert (await runtime.get(run_id)).status.labels == {"kind": "z", "team": "x"}
    assert [run.run_id for run in (await seen.list_runs(RunFilter(), NEWEST, "", 10)).runs] == [run_id]
    assert await seen.count_runs(RunFilter(labels={"team": "y"})) == 0
    assert isinstance(await failure_of(seen.get(other)), RunNotFound)
    inner = await submitted(runtime, MINE)
    assert isinstance(await failure_of(seen.get(inner)), RunNotFound)


def inside(run_id: str) -> ObservabilityContext:
    return ObservabilityContext(trace_id="t", span_id="s", run_id=run_id)


@pytest.mark.parametrize("view", [VIEW, CallerView("mine", labels=X)])
async def test_no_run_is_inside_one_that_is_hidden(runtime: CountedReads, view: CallerView) -> None:
    """Not even one that is cancelled is told from one that does not exist."""
    seen = SeenRuntime(runtime, view)
    hidden = [await submitted(runtime, THEIRS), await submitted(runtime, THEIRS)]
    await runtime.cancel(hidden[1], None)
    parents, reads = [], []
    for run_id in (*hidden, MISSING_RUN, "no id", await submitted(seen, MINE)):
        before = runtime.gets
        inner = await submitted(seen, MINE, observability=inside(run_id))
        reads.append(runtime.gets - before)
        parents.append((await runtime.get(inner)).status.parent_run_id)
    assert parents == [None, None, None, None, run_id]
    assert reads[0] == reads[1] == reads[2]


async def test_a_view_with_labels_shows_no_parents_without_them(runtime: CountedReads) -> None:
    seen = SeenRuntime(runtime, CallerView("mine", labels=X))
    other = await submitted(runtime, MINE, labels={"team": "y"})
    inner = await submitted(seen, MINE, observability=inside(other))
    assert (await runtime.get(inner)).status.parent_run_id is None
    assert (await runtime.get(inner)).status.root_run_id is None


async def test_keys_count_among_callers_with_the_same_labels(runtime: CountedReads) -> None:
    """Nobody is told that others have used a key. The scopes of tasks stay: the view has the labels of their runs."""
    views = [CallerView("mine"), CallerView("mine", labels=X), CallerView("mine", labels=(("team", "y"),))]
    runs = [await submitted(SeenRuntime(runtime, view), MINE, idempotency_key="k") for view in (*views, *views)]
    assert runs[:3] == runs[3:]
    assert len(set(runs)) == 3
    both = (("a", "b"), ("team", "x"))
    runs = [
        await submitted(SeenRuntime(runtime, CallerView("mine", labels=labels)), MINE, idempotency_key="k")
        for labels in (both, both[::-1])
    ]
    assert runs[0] == runs[1]
    flow_id = await runtime.put_blob(FLOW, "mine")
    task = f"{runs[0]}/s/0"
    await SeenRuntime(runtime, views[1]).submit(SubmitParams(flow_id=flow_id, inputs=[], owner=MINE), task)
    assert runtime.scopes[-1] == task


async def test_to_be_inside_a_run_takes_no_look_how_far_it_is() -> None:
    class Knowing(CountedReads):
        async def get_known(self, run_id: str) -> Snapshot:
            return await ScriptedRuntime.get(self, run_id)

    knowing = Knowing()
    parent = await submitted(knowing, MINE)
    seen = SeenRuntime(knowing, VIEW)
    for _ in range(2):
        run_id = await submitted(seen, MINE, observability=ObservabilityContext(run_id=parent))
        assert (await ScriptedRuntime.get(knowing, run_id)).status.parent_run_id == parent
    assert knowing.gets == 0


async def test_a_view_of_one_run(runtime: CountedReads) -> None:
    run_id, other = await submitted(runtime, MINE), await submitted(runtime, MINE)
    seen = SeenRuntime(runtime, CallerView("mine", run_id))
    before = runtime.gets
    assert isinstance(await failure_of(seen.get(other)), RunNotFound)
    assert isinstance(await failure_of(seen.get(MISSING_RUN)), RunNotFound)
    assert runtime.gets == before
    assert [run.run_id for run in (await seen.list_runs(RunFilter(), NEWEST, "", 10)).runs] == [run_id]
    assert await seen.count_runs(RunFilter()) == 1
    assert await seen.count_runs(RunFilter(states=(RunState.FAILED,))) == 0
    assert isinstance(await failure_of(seen.list_runs(RunFilter(), NEWEST, "1", 10)), InvalidParams)
    assert isinstance(await failure_of(submitted(seen, MINE)), PermissionDenied)
    with pytest.raises(Unsupported):
        seen.watch_set(RunFilter(), b"", only_new=False)
    await seen.delete(run_id, cancel=True)
    assert await seen.count_runs(RunFilter()) == 0


async def test_sets_are_narrowed(runtime: CountedReads) -> None:
    for view, wanted in (
        (VIEW, RunFilter()),
        (CallerView("mine", labels=(("team", "x"),)), RunFilter(labels={"kind": "z"})),
        (CallerView("mine", labels=(("team", "x"),)), RunFilter(labels={"team": "y"})),
    ):
        async with aclosing(SeenRuntime(runtime, view).watch_set(wanted, b"", only_new=False)) as parts:
            await anext(parts)
    assert runtime.sets == [
        RunFilter(namespace="mine"),
        RunFilter(namespace="mine", labels={"kind": "z", "team": "x"}),
        RunFilter(namespace="mine", labels={"team": "x"}, created_before=-LATEST),
    ]


async def test_blobs_are_those_of_the_namespace(runtime: CountedReads) -> None:
    mine, theirs = (SeenRuntime(runtime, CallerView(name)) for name in ("mine", "theirs"))
    blob_id = await theirs.put_blob(FLOW)
    for missing in (blob_id, MISSING_BLOB):
        for call in (mine.get_blob(missing), mine.peek_blob(missing)):
            failure = await failure_of(call)
            assert (type(failure), failure.message) == (BlobNotFound, f"no blob has the id '{missing}'")
    params = SubmitParams(flow_id=blob_id, inputs=[], owner=MINE)
    assert isinstance(await failure_of(mine.submit(params, "")), FlowNotFound)
    assert await mine.put_blob(FLOW) == blob_id
    assert await mine.get_blob(blob_id) == FLOW


async def test_a_submit_is_in_the_namespace_whatever_its_owner(runtime: CountedReads) -> None:
    for owner in (None, THEIRS):
        run_id = await submitted(runtime, MINE)
        flow_id = await runtime.put_blob(FLOW, "mine")
        snapshot = await SeenRuntime(runtime, VIEW).submit(SubmitParams(flow_id=flow_id, inputs=[], owner=owner), "")
        assert snapshot.status.namespace == "mine"
        assert snapshot.status.run_id != run_id


async def test_it_is_as_ready_as_the_runtime_and_does_not_end_it(runtime: CountedReads) -> None:
    seen = SeenRuntime(runtime, VIEW)
    assert seen.readiness is runtime.readiness
    await seen.drain()
    await seen.close()
    assert not runtime.closed
    await submitted(runtime, MINE)


@pytest.mark.parametrize("call", ["get", "watch", "items"])
async def test_a_hidden_run_in_memory_takes_the_reads_of_one_that_does_not_exist(tmp_path: Path, call: str) -> None:
    async with opened(tmp_path / "state.db") as embedded:
        await embedded.start()
        run_id = await submitted(embedded.runtime, THEIRS)
        await embedded.wait(run_id)
        reads, load = [0], embedded.journal.load

        async def counted(run_id: str) -> Any:
            reads[0] += 1
            return await load(run_id)

        embedded.journal.load = counted  # type: ignore[method-assign]
        await embedded.runtime.get(run_id)
        assert reads == [0]
        for hidden in (run_id, MISSING_RUN):
            reads[0] = 0
            assert isinstance(await failure_of(CALLS[call](SeenRuntime(embedded.runtime, VIEW), hidden)), RunNotFound)
            assert reads == [1]
