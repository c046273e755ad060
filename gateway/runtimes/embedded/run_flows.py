"""The flows of runs: stored ones, with the overrides of a run."""

import asyncio
import logging
from typing import Final

from gateway.components import Components
from gateway.core.errors import (
    FlowNotFound,
    InvalidParams,
    Overloaded,
    TooLarge,
)
from gateway.core.model import JsonText
from gateway.flows.flow import Flow
from gateway.flows.flow_cache import FlowCache
from gateway.flows.run_fields import fields_of
from gateway.flows.run_owners import blob_key
from gateway.flows.unknown_component import refuse_unknown_components
from gateway.runtimes.embedded.blob_uses import BlobUses
from gateway.runtimes.embedded.journal import Journal
from gateway.runtimes.embedded.run import Run

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
            flow = await self._flows.compile_stored(key, blob)
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
        await refuse_unknown_components(flow, self._components, patient=patient)
