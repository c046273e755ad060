"""The inputs of a run, which may be millions, read in slices of time."""

import time
from collections.abc import Iterable

from gateway.adapter import params_proto
from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.time_slice import SLICE_SECONDS
from gateway.core.model import JsonText
from runs.v1 import runs_pb2

SLICE_BYTES = 1 << 10
"""The largest request whose inputs are read at once: any inputs of this size take less than a slice of time."""

_CLOCK_STRIDE = 16


async def read_inputs(values: Iterable[runs_pb2.JsonValue], inputs: list[JsonText], fair_queue: FairQueue) -> None:
    """Append further inputs to those of a run, and pass `fair_queue` after each slice of time.

    Raises InvalidParams, with the place among all inputs, if one is not a JSON value.
    """
    until = time.monotonic() + SLICE_SECONDS
    for value in values:
        if len(inputs) % _CLOCK_STRIDE == 0 and time.monotonic() >= until:
            await fair_queue.yield_turn()
            until = time.monotonic() + SLICE_SECONDS
        inputs.append(params_proto.input_from_proto(value, len(inputs)))
