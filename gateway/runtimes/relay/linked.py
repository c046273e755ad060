"""The runtime of a worker: that of its gateway, small things over the link and long ones over gRPC."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from gateway.core.errors import shutting_down
from gateway.core.model import ItemResult, SubmitParams
from gateway.core.packed_texts import PackedTexts
from gateway.core.runtime import Page, Snapshot
from gateway.core.server_sockets import socket_path
from gateway.core.socket_directory import LINK_SOCKET
from gateway.peers.link.messages import MAX_INPUT_TEXT, MAX_INPUTS
from gateway.runtimes.relay.link import BeyondLink, Link
from gateway.runtimes.relay.runtime import RelayRuntime


class LinkedRuntime(RelayRuntime):
    """The runtime behind the socket at `address`, `unix:PATH`, and behind the one for links beside it."""

    is_trusted = True

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._path = str(Path(socket_path(address) or "").with_name(LINK_SOCKET))
        self._link = Link(lambda: self.readiness.report_defect("the link to the runtime of the gateway was lost"))

    async def connect(self, seconds: float) -> bool:
        """Connect the link, too. Raises OSError if nothing listens there."""
        await self._link.connect(self._path)
        return await super().connect(seconds)

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        if not _is_short(params):
            return await super().submit(params, scope)
        try:
            return await self._link.submit(self._relayed(params, scope))
        except BeyondLink as beyond:
            return await super().get(beyond.run_id)

    async def get(self, run_id: str) -> Snapshot:
        try:
            snapshot = await self._link.state(run_id)
        except BeyondLink:
            return await super().get(run_id)
        assert snapshot is not None, "any revision was asked for"
        return snapshot

    async def get_since(self, run_id: str, revision: int) -> Snapshot | None:
        try:
            return await self._link.state(run_id, revision)
        except BeyondLink:
            return await super().get_since(run_id, revision)

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Follow a run. Raises Unavailable if this process, or the runtime, stops."""
        self._refuse_if_draining()
        try:
            async with aclosing(self._link.states(run_id)) as states:
                async for snapshot in states:
                    yield snapshot
            return
        except BeyondLink:
            pass
        async with aclosing(super().watch(run_id)) as others:
            async for snapshot in others:
                yield snapshot

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        try:
            return await self._link.results(run_id, page)
        except BeyondLink:
            return await super().results(run_id, page)

    async def drain(self) -> None:
        await super().drain()
        self._link.end_watches(shutting_down())

    async def close(self) -> None:
        await super().close()
        self._link.close()


def _is_short(params: SubmitParams) -> bool:
    """Whether a submit takes little time at both ends of the link."""
    inputs = params.inputs
    if isinstance(inputs, PackedTexts) or len(inputs) > MAX_INPUTS:
        return False
    if params.overrides is not None or params.extensions:
        return False
    size = sum(map(len, inputs))
    if (trace := params.observability) is not None:
        if trace.extensions:
            return False
        named = (trace.trace_id, trace.span_id, trace.run_id, trace.flow_id, trace.step_id)
        size += sum(len(text) for text in named if text is not None)
    for name, text in params.variables.items():
        size += len(name) + len(text)
    for name, value in params.labels.items():
        size += len(name) + len(value)
    return size <= MAX_INPUT_TEXT
