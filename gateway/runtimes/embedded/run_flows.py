"""The flows of runs: stored ones, with the overrides of a run."""

import asyncio
import logging
from typing import Final

from gateway.components import Components
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import (
    MAX_VIOLATIONS,
    MORE_VIOLATIONS,
    FlowNotFound,
    InvalidFlow,
    InvalidParams,
    Overloaded,
    TooLarge,
    Violation,
    render_path,
)
from gateway.core.model import Blob, JsonText
from gateway.runtimes.embedded.blob_uses import BlobUses
from gateway.runtimes.embedded.builtins import BUILTINS
from gateway.runtimes.embedded.flow import Flow
from gateway.runtimes.embedded.flow_cache import FlowCache
from gateway.runtimes.embedded.journal import Journal
from gateway.runtimes.embedded.run import Run
from gateway.runtimes.embedded.run_fields import fields_of
from gateway.runtimes.embedded.run_owners import blob_key
from gateway.runtimes.embedded.unknown_component import unknown_component

_log = logging.getLogger(__name__)

MEMORY_RETRY_SECONDS: Final = 1.0
"""How long a run from before waits, again and again, for the memory that its flow takes."""


class RunFlows:
    """Finds the flows of runs in the journal, compiles them, and checks that their components exist."""

    def __init__(self, journal: Journal, flows: FlowCache, components: Components, uses: BlobUses) -> None:
        self._journal = journal
        self._flows = flows
        self._components = components
        self._uses = uses

    async def overridden(self, flow_id: str, overrides: JsonText | None, namespace: str) -> Flow:
        """The flow with this id in a namespace, with overrides.

        Raises FlowNotFound if no blob has this id, InvalidParams if it is not valid, and as `FlowCache` does.
        """
        key = blob_key(flow_id, namespace)
        if key in self._uses.going:
            await self._uses.gone(key)
        self._uses.note(key)
        flow = self._flows.get(key)
        if flow is None:
            blob = await self._journal.get_blob(key)
            if blob is None:
                raise FlowNotFound(f"no flow has the id '{flow_id}'")
            flow = await self._stored(key, blob)
        return flow if overrides is None else await self._flows.override(flow, overrides)

    async def accepted(self, run: Run) -> Flow | None:
        """The flow of a run that was accepted by an earlier process.

        None if it is not valid any more, or if the run has been cancelled while it was looked for.
        """
        record = run.record
        while not run.cancelling:
            try:
                return await self.overridden(record.flow_id, record.overrides, record.namespace)
            except (InvalidParams, TooLarge) as error:
                # This gateway is stricter.
                _log.error("run %s stays unfinished: %s", record.run_id, error, extra=fields_of(record))
                return None
            except Overloaded:
                await asyncio.sleep(MEMORY_RETRY_SECONDS)
        return None

    async def refuse_unknown_components(self, flow: Flow, *, patient: bool) -> None:
        """Raise InvalidFlow if a flow names components that do not exist. `patient` waits for servers that start."""
        unknown = []
        time_slice = TimeSlice()
        for component, index in flow.components.items():
            if component not in BUILTINS and not await self._components.resolve(component, patient=patient):
                what = f"{render_path(('steps', index, 'component'))}: {unknown_component(component)}"
                unknown.append(Violation(("flow_id",), what))
                if len(unknown) > MAX_VIOLATIONS:
                    raise InvalidFlow(unknown, rest=MORE_VIOLATIONS)
            await time_slice.checkpoint()
        if unknown:
            raise InvalidFlow(unknown)

    async def _stored(self, key: str, blob: Blob) -> Flow:
        """The flow in a blob that a submit names. Its type does not matter: components also store flows as data."""
        try:
            return await self._flows.compile(key, blob.content, "flow_id")
        except InvalidFlow as error:
            raise InvalidFlow(
                [Violation(("flow_id",), f"the blob is not a valid flow: {named}") for named in error.violations],
                rest=error.rest,
            ) from error
