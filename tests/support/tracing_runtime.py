"""A runtime that notes in which trace it is asked for what."""

from collections.abc import AsyncGenerator

from gateway.core.model import ItemResult, SubmitParams
from gateway.core.runtime import Page, Snapshot
from gateway.telemetry import tracing
from tests.support.scripted_runtime import ScriptedRuntime


class TracingRuntime(ScriptedRuntime):
    """`traces` has the name of each call, and the ids of its trace and of the span that it is a child of, or None."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: list[tuple[str, tuple[str, str] | None]] = []
        self.asked_for: list[SubmitParams] = []

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        self.traces.append(("submit", tracing.ids()))
        self.asked_for.append(params)
        return await super().submit(params, scope)

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        self.traces.append(("watch", tracing.ids()))
        async for snapshot in super().watch(run_id):
            yield snapshot

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        self.traces.append(("results", tracing.ids()))
        return await super().results(run_id, page)
