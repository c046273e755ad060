"""The record of a run that is accepted now."""

import os
from typing import Final

from gateway.adapter.params_json import labels_to_json, observability_to_json
from gateway.core.clock import start_of_run
from gateway.core.model import Nanoseconds, SubmitParams
from gateway.runtimes.embedded.deadlines import deadline_of
from gateway.runtimes.embedded.journal import RunRecord
from gateway.runtimes.embedded.nesting import Ancestry
from gateway.runtimes.embedded.values import write_object

_CHANCE: Final = (1 << 62) - 1
_VARIANT: Final = 0b10 << 62


def new_record(
    params: SubmitParams,
    scope: str,
    flow_name: str | None,
    ancestry: Ancestry | None,
    digest: str,
    *,
    run_timeout: float | None,
) -> RunRecord:
    """The record of a run with a new id; `digest` is the fingerprint of what was submitted.

    It may take `run_timeout` seconds, or less if it says so itself.

    Raises Unavailable if the clock is wrong.
    """
    created_at = start_of_run()
    observability = params.observability
    return RunRecord(
        run_id=RUN_IDS.next(created_at),
        flow_id=params.flow_id,
        flow_name=flow_name,
        flow_label=params.flow_label,
        total=len(params.inputs),
        max_concurrency=params.max_concurrency,
        overrides=params.overrides,
        variables=write_object(params.variables) if params.variables else "{}",
        observability=None if observability is None else observability_to_json(observability),
        scope=scope,
        key=params.idempotency_key,
        fingerprint=digest,
        created_at=created_at,
        depth=0 if ancestry is None else ancestry.depth,
        root_id=None if ancestry is None else ancestry.root_id,
        parent_id=None if ancestry is None else ancestry.parent_id,
        labels=labels_to_json(params.labels) if params.labels else None,
        deadline=deadline_of(created_at, params.execution_timeout, run_timeout),
    )


class RunIds:
    """Makes ids that grow, also if the clock is set back, and over restarts: UUIDs of version 7.

    Their 60 upper bits that are free count 4,096ths of a millisecond. Runs that are accepted one after the other are
    neighbours in the index of the journal.
    """

    def __init__(self) -> None:
        self._last = 0

    def begin_after(self, run_id: str) -> None:
        """Make ids that are larger than this one."""
        digits = run_id.replace("-", "")
        self._last = max(self._last, int(digits[:12] + digits[13:16], 16))

    def next(self, moment: Nanoseconds) -> str:
        """An id for a run that is accepted at this time."""
        self._last = last = max(self._last + 1, (moment << 12) // 1_000_000)
        chance = int.from_bytes(os.urandom(8)) & _CHANCE | _VARIANT
        time = f"{last >> 28:08x}-{last >> 12 & 0xFFFF:04x}-7{last & 0xFFF:03x}"
        return f"{time}-{chance >> 48:04x}-{chance & 0xFFFF_FFFF_FFFF:012x}"


RUN_IDS: Final = RunIds()
"""The ids of all runs that this process accepts."""
