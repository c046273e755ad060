"""The inputs of a run, which may be millions, read in slices of time."""

from collections.abc import Iterable
from typing import TypeAlias

from gateway.adapter import params_proto
from gateway.adapter.params_proto import long_input_from_proto
from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.core.json_parts import LONG_TEXT
from gateway.core.packed_texts import PackedTexts
from runs.v1 import runs_pb2

SLICE_BYTES = 1 << 10
"""The largest request whose inputs are read at once: any inputs of this size take less than a slice of time."""

_CLOCK_STRIDE = 16

SubmitOrBytes: TypeAlias = runs_pb2.SubmitRunRequest | bytes
"""A request, or one that is long and not parsed yet."""


async def read_inputs(values: Iterable[runs_pb2.JsonValue], inputs: PackedTexts, fair_queue: FairQueue) -> None:
    """Append further inputs to those of a run, and pass `fair_queue` after each slice of time.

    Raises InvalidParams, with the place among all inputs, if one is not a JSON value.
    """
    checkpoint = FairSlices(fair_queue).checkpoint
    for index, value in enumerate(values, len(inputs)):
        if index % _CLOCK_STRIDE == 0:
            await checkpoint()
        if value.ByteSize() > LONG_TEXT:
            inputs.append(await long_input_from_proto(value, index, checkpoint))
        else:
            inputs.append(params_proto.input_from_proto(value, index))
