"""Flows and components that start runs without end come to one, whichever way they take."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from gateway.client import AsyncRunsClient
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import NestedTooDeeply, Overloaded, TooManyDescendants
from gateway.core.model import ObservabilityContext, RunState
from gateway.flows.nesting import MAX_DEPTH, Ancestry, Nesting
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded.journal import UNFINISHED_RUNS
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from tests.support.component_server import Call, ComponentServer
from tests.support.embedded import Accepted, Embedded, opened

EVAL_ITSELF = {
    "steps": [
        {
            "id": "again",
            "component": "/builtin/eval",
            "input": {"flow_id": {"$input": "id"}, "input": {"$input": "$"}},
        }
    ],
    "output": {"$step": "again", "path": "result"},
}
MAP_ITSELF = {
    "steps": [
        {
            "id": "twice",
            "component": "/builtin/map",
            "input": {"workflow": {"$input": "flow"}, "items": [{"$input": "$"}, {"$input": "$"}]},
        }
    ],
    "output": {"$step": "twice", "path": "results"},
}
ITERATE_AND_EVAL = {
    "steps": [
        {
            "id": "loop",
            "component": "/builtin/iterate",
            "input": {
                "flow": {
                    "$literal": {
                        "steps": [{"id": "again", "component": "/builtin/eval", "input": {"$input": "$"}}],
                        "output": {"result": {"$step": "again", "path": "result"}},
                    }
                },
                "initial_input": {"flow_id": {"$input": "flow_id"}, "input": {"$input": "$"}},
            },
        }
    ],
    "output": {"$step": "loop", "path": "result"},
}
WITHOUT_END = {"steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}


@pytest.fixture(params=["memory", "file"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "state.db"


class Peak(Nesting):
    """Notes how many items are live at most."""

    most = 0

    def take(self, ancestry: Ancestry, items: int, size: int) -> None:
        super().take(ancestry, items, size)
        self.most = max(self.most, self.live(ancestry.root_id))


def innermost(result: Any) -> Any:
    """The error in a result of eval that holds a result of eval, and so on."""
    while result["outcome"] == "success":
        result = result["result"]
    return result["error"]


async def test_a_flow_that_evaluates_itself_ends_at_the_bound_of_depth(state: Path | None) -> None:
    async with opened(state) as embedded:
        accepted = Accepted(embedded)
        await embedded.start()
        inputs = [{"id": await embedded.put(EVAL_ITSELF)}] * 8
        status = await embedded.submit(EVAL_ITSELF, *inputs)
        depths = [record.depth for record in accepted.records]
        assert sorted(depths) == [0, *sorted([*range(1, MAX_DEPTH + 1)] * 8)]
        assert {record.root_id for record in accepted.records} == {None, status.run_id}
        assert status.items.success == 8
        assert status.results is not None
        deepest = {record.run_id for record in accepted.records if record.depth == MAX_DEPTH}
        for result in status.results:
            error = innermost(json.loads(result.value or ""))
            place, _, rest = error["message"].partition(": ")
            assert (error["code"], rest) == (NestedTooDeeply.code, f"runs nest at most {MAX_DEPTH} deep (max_depth)")
            deepest.remove(place.removesuffix("/0/again"))
        assert deepest == set()


async def test_a_flow_that_maps_itself_over_two_copies_has_a_bounded_number_of_descendants(state: Path | None) -> None:
    nesting = Peak(max_depth=7, max_descendants=20)
    async with opened(state, nesting) as embedded:
        accepted = Accepted(embedded)
        await embedded.start()
        status = await embedded.submit(MAP_ITSELF, {"flow": MAP_ITSELF})
        assert (status.status, nesting.most) == (RunState.SUCCESS, 20)
        assert len(accepted.records) <= 2**7
        assert nesting.live(status.run_id) == 0
        assert status.results is not None
        text = status.results[0].value or ""
        assert f'"code":{TooManyDescendants.code}' in text
        assert f"/twice: all runs nested in run {status.run_id} have at most 20 items at a time" in text


async def test_without_a_bound_of_descendants_that_of_depth_remains() -> None:
    async with opened(None, Nesting(max_depth=5)) as embedded:
        accepted = Accepted(embedded)
        await embedded.start()
        await embedded.submit(MAP_ITSELF, {"flow": MAP_ITSELF})
        depths = [record.depth for record in accepted.records]
        assert [depths.count(depth) for depth in range(7)] == [1, 1, 2, 4, 8, 16, 0]


async def test_what_is_refused_leaves_nothing_in_the_journal(state: Path | None) -> None:
    async with opened(state, Nesting(max_depth=0)) as embedded:
        accepted = Accepted(embedded)
        put = embedded.journal.put_blob
        blobs = []

        async def noted(blob_id: str, *arguments: Any) -> None:
            blobs.append(blob_id)
            await put(blob_id, *arguments)

        embedded.journal.put_blob = noted  # type: ignore[method-assign, assignment]
        await embedded.start()
        status = await embedded.submit(MAP_ITSELF, {"flow": EVAL_ITSELF})
        assert status.status is RunState.FAILED
        assert status.results is not None
        error = status.results[0].error
        assert error is not None
        assert (error.code, error.message) == (-32021, f"{status.run_id}/0/twice: runs nest at most 0 deep (max_depth)")
        assert (len(accepted.records), blobs) == (1, [status.flow_id])


async def test_flows_that_run_in_place_count_as_levels_too() -> None:
    async with opened(None, Nesting(max_depth=5)) as embedded:
        accepted = Accepted(embedded)
        await embedded.start()
        status = await embedded.submit(ITERATE_AND_EVAL, {"flow_id": await embedded.put(ITERATE_AND_EVAL)})
        assert [record.depth for record in accepted.records] == [0, 2, 4]
        assert status.results is not None
        error = innermost(json.loads(status.results[0].value or ""))
        assert error["message"].endswith("/0/loop/0/again: runs nest at most 5 deep (max_depth)")


class Submitting:
    """A component that submits a run of its own flow, without waiting, and fails if it is refused."""

    def __init__(self, way: str) -> None:
        self.flow_id = ""
        self.executions = 0
        """How many have begun: a run may end before the answer to its submit comes."""
        self.errors: list[Any] = []
        self.ended = asyncio.Event()
        self.address = ""
        self.server = ComponentServer(getattr(self, way))
        self._answers: dict[str, asyncio.Future[Any]] = {}

    def params(self, call: Call) -> dict[str, Any]:
        return {"flowId": self.flow_id, "inputs": [1], "observability": call.message["params"]["observability"]}

    def note(self, error: Any) -> None:
        if error is not None:
            self.errors.append(error)
            self.ended.set()

    async def callback(self, call: Call) -> None:
        """In the event stream of the execution."""
        if "method" not in call.message:
            self._answers[call.message["id"]].set_result(call.message)
            await call.accept()
            return
        self.executions += 1
        name = f"submit-{len(self._answers)}"
        answer = self._answers[name] = asyncio.get_running_loop().create_future()
        # Without a trace: the gateway knows the task.
        params = {"flowId": self.flow_id, "inputs": [1]}
        await call.stream()
        await call.event({"jsonrpc": "2.0", "id": name, "method": "runs/submit", "params": params})
        self.note((await answer).get("error"))
        await call.output(1)

    async def http(self, call: Call) -> None:
        """By a connection of its own, to the HTTP front."""
        self.executions += 1
        body = {"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": self.params(call)}
        async with aiohttp.ClientSession() as session, session.post(self.address, json=body) as response:
            self.note((await response.json()).get("error"))
        await call.result({"output": 1})

    async def grpc(self, call: Call) -> None:
        """By a connection of its own, to the gRPC front."""
        self.executions += 1
        trace = call.message["params"]["observability"]
        try:
            async with AsyncRunsClient(self.address) as client:
                await client.submit(self.flow_id, [1], observability=trace)
        except Exception as error:
            self.note({"message": str(error)})
        else:
            self.note(None)
        await call.result({"output": 1})


async def test_a_component_that_submits_its_own_flow_ends_at_the_bound_of_depth(state: Path | None) -> None:
    component = Submitting("callback")
    async with component.server.running() as url, opened(state, components={"/test": url}) as embedded:
        accepted = Accepted(embedded)
        await embedded.start()
        component.flow_id = await embedded.put(WITHOUT_END)
        await embedded.submit(WITHOUT_END, 1)
        await component.ended.wait()
        assert [record.depth for record in accepted.records] == [*range(MAX_DEPTH + 1)]
        assert component.executions == MAX_DEPTH + 1
        deepest = accepted.records[-1].run_id
        assert [error["code"] for error in component.errors] == [-32021]
        assert component.errors[0]["message"].startswith(f"{deepest}/0/s: runs nest")


@pytest.mark.parametrize("relayed", [False, True])
@pytest.mark.parametrize("way", ["http", "grpc"])
async def test_a_component_is_known_by_its_trace_on_a_connection_of_its_own(way: str, relayed: bool) -> None:
    component = Submitting(way)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(component.server.running())
        anywhere = ServeSettings(
            grpc_address="127.0.0.1:0",
            http_address="127.0.0.1:0",
            metrics_address="off",
            state=":memory:",
            max_depth=4,
        )
        settings = anywhere.model_copy(update={"components": {"/test": url}})
        gateway = await stack.enter_async_context(running(settings))
        client = await stack.enter_async_context(AsyncRunsClient(gateway.grpc))
        if relayed:
            settings = anywhere.model_copy(update={"runtime": f"grpc://{gateway.grpc}"})
            gateway = await stack.enter_async_context(running(settings))
        component.address = f"http://{gateway.http}/" if way == "http" else gateway.grpc
        component.flow_id = await client.put_flow(WITHOUT_END)
        await client.submit(component.flow_id, [1])
        await component.ended.wait()
        assert component.executions == 5
        assert "/s: runs nest at most 4 deep (max_depth)" in component.errors[0]["message"]


async def test_a_trace_of_another_gateway_makes_no_difference() -> None:
    async with opened(None, Nesting(max_depth=0)) as embedded:
        await embedded.start()
        trace = ObservabilityContext(run_id="0192aaaa-0000-7000-8000-000000000000", span_id="1")
        status = await embedded.submit({"output": 1}, 1, observability=trace)
        assert status.status is RunState.SUCCESS


class Held:
    """A component whose executions end when `released` is set."""

    def __init__(self) -> None:
        self.executions = 0
        self.begun = asyncio.Condition()
        self.released = asyncio.Event()
        self.server = ComponentServer(self._answer)

    async def _answer(self, call: Call) -> None:
        async with self.begun:
            self.executions += 1
            self.begun.notify_all()
        await self.released.wait()
        await call.result({"output": 1})

    async def executing(self, number: int) -> None:
        """Wait until so many executions have begun."""
        async with self.begun:
            await self.begun.wait_for(lambda: self.executions == number)


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    held = Held()
    async with held.server.running():
        yield held


HOLD = {"steps": [{"id": "s", "component": "/test/echo", "input": 1}], "output": {"$step": "s"}}
MAP_INPUT = {"workflow": {"$literal": HOLD}, "items": [1, 2, 3]}
MAP_HELD = {
    "steps": [{"id": "map", "component": "/builtin/map", "input": MAP_INPUT}],
    "output": {"$step": "map", "path": "successful"},
}


async def test_descendants_are_counted_again_after_a_restart_and_found_by_those_that_started_them(
    held: Held, tmp_path: Path
) -> None:
    nesting, components = Nesting(max_descendants=6), {"/test": held.server.url}
    async with opened(tmp_path / "state.db", nesting, components) as embedded:
        await embedded.start()
        run_id = (await embedded.submit(MAP_HELD, 1, 2, wait=False)).run_id
        await held.executing(6)
        assert nesting.live(run_id) == 6
    nesting = Nesting(max_descendants=6)
    async with opened(tmp_path / "state.db", nesting, components) as embedded:
        accepted = Accepted(embedded)
        nested = asyncio.create_task(
            embedded.submit(HOLD, 1, wait=False, observability=ObservabilityContext(run_id=run_id))
        )
        await embedded.start()
        with pytest.raises(TooManyDescendants, match="at most 6 items"):
            await nested
        await held.executing(12)
        assert nesting.live(run_id) == 6
        held.released.set()
        status = await embedded.wait(run_id)
        assert [result.value for result in status.results or ()] == ["3", "3"]
        assert nesting.live(run_id) == 0
        assert accepted.records == []


async def test_a_start_reads_the_same_for_any_number_of_unfinished_runs_and_items(held: Held, tmp_path: Path) -> None:
    reads = []
    components = {"/test": held.server.url}
    for number in (1, 3 * UNFINISHED_RUNS):
        path = tmp_path / f"{number}.db"
        async with opened(path) as embedded:
            flow_id = await embedded.put(HOLD)
            await filled(embedded, flow_id, number)
        async with opened(path, components=components) as embedded:
            file = embedded.journal._file  # type: ignore[attr-defined]
            count = 0
            read = file.read

            async def counted(operation: Any, read: Any = read) -> Any:
                nonlocal count
                count += 1
                return await read(operation)

            file.read = counted
            await embedded.runtime.start(embedded.service)
            status = await embedded.submit({"output": 1}, 1)
            assert status.status is RunState.SUCCESS
            reads.append(count)
            assert embedded.runtime._table.active == {}
            assert held.executions == 0
    assert reads == [0, 0]


async def filled(embedded: Embedded, flow_id: str, number: int) -> None:
    """Let a journal hold unfinished runs, one of them with many items."""
    one = RunRecord("run", flow_id, None, None, 1, None, None, "{}", None, "", None, "", 7)
    await asyncio.gather(
        *(embedded.journal.create(replace(one, run_id=f"run-{n}"), ["1"]) for n in range(number)),
        embedded.journal.create(replace(one, run_id="many", total=number), ["1"] * number),
    )


async def test_runs_inside_runs_draw_from_the_account_of_memory() -> None:
    account = MemoryAccount(4 << 20)
    async with opened(None, Nesting(account=account)) as embedded:
        accepted = Accepted(embedded)
        most = 0
        create = embedded.journal.create

        async def measured(*arguments: Any) -> Any:
            nonlocal most
            most = max(most, account.held)
            return await create(*arguments)

        embedded.journal.create = measured  # type: ignore[method-assign, assignment]
        await embedded.start()
        inputs = [{"id": await embedded.put(EVAL_ITSELF)}] * 64
        status = await embedded.submit(EVAL_ITSELF, *inputs)
        assert 1 << 20 < most < 2 << 20
        assert account.held == 0
        errors = {result.error.code for result in status.results or () if result.error is not None}
        errors |= {innermost(json.loads(result.value))["code"] for result in status.results or () if result.value}
        # What those that fail give back lets some others get to the bottom.
        assert Overloaded.code in errors
        assert errors <= {Overloaded.code, NestedTooDeeply.code}
        assert len(accepted.records) < 64 * MAX_DEPTH
