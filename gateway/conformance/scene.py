"""What the promises are tried on: the runs of the kit on a target, and the target itself."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

import grpc

from gateway.conformance import flows
from gateway.conformance.kit_submits import UNENDED, KitSubmits
from gateway.conformance.promise import NotTried, shown
from gateway.conformance.target import Target
from runs.v1 import blobs_pb2, runs_pb2

LABEL: Final = "runs-gateway-conformance"
"""The label that all runs of the kit have."""

LARGE_ITEMS: Final = 24
ENDING: Final = (0, 1, 2, 3)
"""The items of an open run that end; one more does not. Where items execute side by side, the last one ends first."""

_TURNS: Final = (4, 3, 2, 1)

_NO_SLOW_ITEMS: Final = (
    "the target has no items that take time: it needs the component /builtin/iterate, or one that is named by "
    "--slow-component"
)


class KitRun(NamedTuple):
    """A run of the kit, and how many items it has."""

    run_id: str
    items: int


class Scene:
    """The runs of the kit. Those that many promises look at are made once, when the first of them wants them."""

    def __init__(
        self,
        target: Target,
        *,
        others: Sequence[Target] = (),
        component: str | None = None,
        restart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.target = target
        self.others = others
        self.restart = restart
        self._component = component
        self._mark = uuid.uuid4().hex
        self._kept: dict[str, Any] = {}
        self._submits = KitSubmits(target)

    @property
    def label(self) -> str:
        """The label of all runs of this scene, as commands take it."""
        return f"{LABEL}={self._mark}"

    async def large_run(self) -> KitRun:
        """A run that has ended, with results that take several messages."""
        return await self._once("large", self._make_large)  # type: ignore[no-any-return]

    async def mixed_run(self) -> KitRun:
        """A run that has ended, whose items did not end in their order if the target can do that."""
        return await self._once("mixed", self._make_mixed)  # type: ignore[no-any-return]

    async def small_run(self, set_name: str = "") -> KitRun:
        """A run that has ended, made now."""
        flow_id = await self._flow("echo", flows.echo_flow())
        run = await self._submit(flow_id, ["1", "2", "3"], set_name, wait=True)
        return KitRun(run.run_id, 3)

    async def number_run(self, number: str) -> KitRun:
        """A run that has ended, whose one result is a number. Raises NotTried if the target does not take it."""

        async def make() -> KitRun:
            flow_id = await self._flow("echo", flows.echo_flow())
            try:
                return await self._ended(flow_id, number, runs_pb2.RUN_STATE_SUCCESS)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                    raise
                raise NotTried(f"the target refuses the input {number}: {error.details()}") from None

        return await self._once(f"number {number}", make)  # type: ignore[no-any-return]

    async def failed_run(self, name: str, flow: str) -> KitRun:
        """A run that has ended, whose one item has failed. Raises NotTried if the target lets it go on, or succeed."""

        async def make() -> KitRun:
            flow_id = await self._flow(name, flow)
            try:
                return await self._ended(flow_id, "0", runs_pb2.RUN_STATE_FAILED)
            except grpc.aio.AioRpcError as error:
                # An engine without a limit for loops may be too busy to answer before the deadline.
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
                raise NotTried(self._not_ended()) from None

        return await self._once(f"failed {name}", make)  # type: ignore[no-any-return]

    @asynccontextmanager
    async def open_run(self, set_name: str = "", *, held_first: bool = False) -> AsyncIterator[KitRun]:
        """A run that goes on while the block lasts, unless it is cancelled. Raises NotTried if the target has none.

        The item that does not end is the last one, or the first one. Nothing is promised about the order in which items
        begin, nor that they execute side by side.
        """
        flow_id = await self._once("slow", self._make_slow_flow)
        turns = (flows.FOREVER, *_TURNS) if held_first else (*_TURNS, flows.FOREVER)
        inputs = [flows.item_that_ends_after(item, turn) for item, turn in enumerate(turns)]
        run = await self._submit(flow_id, inputs, set_name)
        try:
            yield KitRun(run.run_id, len(turns))
        except BaseException:
            # That is told, or ends the kit: not what may become of the cancel.
            with suppress(Exception):
                await self.cancel(run.run_id)
            raise
        await self.cancel(run.run_id)

    async def cancel(self, run_id: str) -> None:
        """End a run, which may be gone."""
        request = runs_pb2.CancelRunRequest(run_id=run_id)
        try:
            await self.target.runs.CancelRun(request, timeout=self.target.patience)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        self._submits.going_on.discard(run_id)

    async def delete(self, run_id: str) -> None:
        """Delete a run that has ended."""
        await self.target.runs.DeleteRun(runs_pb2.DeleteRunRequest(run_id=run_id), timeout=self.target.patience)

    def filter(self, set_name: str) -> runs_pb2.RunFilter:
        """The filter of the runs that were made with a name of a set."""
        return runs_pb2.RunFilter(labels={LABEL: self._mark, "set": set_name})

    async def listed(self, set_name: str) -> dict[str, runs_pb2.RunStatus]:
        """What ListRuns tells of the runs of a set."""
        request = runs_pb2.ListRunsRequest(filter=self.filter(set_name), page_size=1_000)
        answer = await self.target.runs.ListRuns(request, timeout=self.target.patience)
        return {run.run_id: run for run in answer.runs}

    async def restarted(self) -> None:
        """Restart the target. Raises NotTried if nobody has said how."""
        if self.restart is None:
            raise NotTried("the kit was not told how to restart the target: --restart COMMAND")
        await self.restart()

    def other(self) -> Target:
        """Another server of the same state. Raises NotTried if there is none."""
        if not self.others:
            raise NotTried("the kit was not told of another server of the same state: --other ADDRESS")
        return self.others[0]

    async def check_component(self) -> None:
        """Execute the component that was named, if one was. Raises NotTried if the target cannot do that."""
        if self._component is not None:
            await self._once("slow", self._make_slow_flow)

    async def clear(self, *, await_target: bool = False) -> bool:
        """Cancel and delete all that the kit has made, and return whether the target has done so.

        A target that cannot be reached may be on its way back: with `await_target`, the kit waits for it.
        """
        if not self._submits.begun:
            return True
        await self._submits.answered()
        request = runs_pb2.DeleteRunsRequest(filter=runs_pb2.RunFilter(labels={LABEL: self._mark}), cancel=True)
        patience = self.target.patience
        try:
            async for _ in self.target.runs.DeleteRuns(request, timeout=patience, wait_for_ready=await_target):
                pass
        except Exception:
            # It is no promise that is tried here, and what came of those is still to be told.
            with suppress(Exception):
                for run_id in tuple(self._submits.going_on):
                    await self.cancel(run_id)
            return False
        return True

    async def _once(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        if name not in self._kept:
            try:
                self._kept[name] = await make()
            except NotTried as lacking:
                self._kept[name] = lacking
        if isinstance(self._kept[name], NotTried):
            raise NotTried(str(self._kept[name]))
        return self._kept[name]

    async def _flow(self, name: str, text: str) -> str:
        async def put() -> str:
            request = blobs_pb2.PutBlobRequest(json=text, type=blobs_pb2.BLOB_TYPE_FLOW)
            return (await self.target.blobs.PutBlob(request, timeout=self.target.patience)).blob_id

        return await self._once(f"flow {name}", put)  # type: ignore[no-any-return]

    async def _make_large(self) -> KitRun:
        flow_id = await self._flow("large", flows.large_flow())
        run = await self._submit(flow_id, map(str, range(LARGE_ITEMS)), "", wait=True)
        return KitRun(run.run_id, LARGE_ITEMS)

    async def _make_mixed(self) -> KitRun:
        flow_id = await self._once("slow", self._make_slow_flow)
        inputs = [flows.item_that_ends_after(item, turns) for item, turns in enumerate(_TURNS)]
        run = await self._submit(flow_id, inputs, "", wait=True)
        return KitRun(run.run_id, len(_TURNS))

    async def _make_slow_flow(self) -> str:
        """A flow whose items end at different times. Raises NotTried if the target cannot execute it."""
        slow, lacking = flows.looping_flow(), _NO_SLOW_ITEMS
        if self._component is not None:
            slow = flows.waiting_flow(self._component)
            lacking = f"--slow-component: the target does not execute {shown(self._component)}"
        try:
            flow_id = await self._flow("slow", slow)
            run = await self._submit(flow_id, [flows.item_that_ends_after(0, 1)], "", wait=True)
        except grpc.aio.AioRpcError as error:
            raise NotTried(f"{lacking} ({error.code().name}: {error.details()})") from None
        if run.status != runs_pb2.RUN_STATE_SUCCESS:
            raise NotTried(lacking)
        return flow_id

    async def _ended(self, flow_id: str, text: str, state: "runs_pb2.RunState.ValueType") -> KitRun:
        """Submit a run of one item. Raises NotTried if it ends in another state."""
        run = await self._submit(flow_id, [text], "", wait=True)
        if run.status != state:
            name = runs_pb2.RunState.Name(run.status)
            raise NotTried(f"the run that it takes ends as {name} on the target, not {runs_pb2.RunState.Name(state)}")
        return KitRun(run.run_id, 1)

    async def _submit(
        self, flow_id: str, inputs: Iterable[str], set_name: str, *, wait: bool = False
    ) -> runs_pb2.RunStatus:
        """Submit a run, and wait for its end."""
        request = runs_pb2.SubmitRunRequest(
            flow_id=flow_id,
            inputs=[runs_pb2.JsonValue(json=text) for text in inputs],
            labels={LABEL: self._mark, "set": set_name},
            idempotency_key=uuid.uuid4().hex,
            wait=wait,
        )
        run = await self._submits.submit(request)
        if wait and run.status in UNENDED:
            raise NotTried(self._not_ended())
        return run

    def _not_ended(self) -> str:
        return f"a run of the kit has not ended within {self.target.patience:g} s: --patience SECONDS"
