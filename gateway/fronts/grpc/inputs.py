"""The inputs of a run, read in slices of time: there may be millions of them."""

import time
from collections.abc import Iterable

from gateway.adapter import params_proto
from gateway.concurrency.fair_queue import FairQueue
from gateway.core.model import JsonText
from runs.v1 import runs_pb2

SLICE_SECONDS = 0.0003
"""How long one call reads at a stretch, while no other one does."""

SLICE_BYTES = 1 << 10
"""How large a request may be whose inputs are read at once: however they are made up, they take less than a slice."""

_CLOCK_STRIDE = 16


async def read_inputs(values: Iterable[runs_pb2.JsonValue], inputs: list[JsonText], fair_queue: FairQueue) -> None:
    """Append further inputs to those of a run. InvalidParams with the place of one among all that is none."""
    until = time.monotonic() + SLICE_SECONDS
    for value in values:
        if len(inputs) % _CLOCK_STRIDE == 0 and time.monotonic() >= until:
            await fair_queue.yield_turn()
            until = time.monotonic() + SLICE_SECONDS
        inputs.append(params_proto.input_from_proto(value, len(inputs)))
