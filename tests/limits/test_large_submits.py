"""A submit of any allowed size is worked on in short pieces, and held in about its own size."""

import asyncio
import tracemalloc
from collections.abc import Callable

import pytest

from gateway.adapter.jsonrpc import Request
from gateway.adapter.long_requests import read_long_body
from gateway.adapter.params_json import submit_params_from_json
from gateway.concurrency.fair_queue import FairQueue
from gateway.core import json_walk
from gateway.core.json_walk import WINDOW, JsonWalk
from gateway.core.packed_texts import CHUNK_TEXT, PackedTexts
from gateway.fronts.grpc.inputs import read_inputs
from gateway.storage.fingerprint import fingerprint
from runs.v1 import runs_pb2

FLOW = "sha256:" + "ab" * 32
SIZE = 2 << 20

BODIES: dict[str, Callable[[], str]] = {
    "one-character inputs": lambda: "[" + "1," * (SIZE // 2) + "1]",
    "small objects": lambda: "[" + '{"a":"b"},' * (SIZE // 10) + "1]",
    "one string": lambda: '["' + "x" * SIZE + '"]',
    "one array": lambda: "[[" + "1," * (SIZE // 2) + "1]]",
}


def body(inputs: str) -> bytes:
    params = f'{{"flowId":"{FLOW}","inputs":{inputs}}}'
    return f'{{"jsonrpc":"2.0","id":1,"method":"runs/submit","params":{params}}}'.encode()


@pytest.mark.parametrize("shape", BODIES)
async def test_a_body_is_read_a_window_at_a_time(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two checkpoints lie a few steps, each of a window; the parser never gets more."""
    steps = since = most = 0
    step = JsonWalk.step
    parser = json_walk._VALUE

    def counted(walk: JsonWalk[bytes]) -> None:
        nonlocal steps, since
        steps += 1
        since += 1
        step(walk)

    class Parser:
        def decode(self, piece: bytes) -> None:
            assert len(piece) <= 3 * WINDOW
            parser.decode(piece)

    async def checkpoint() -> None:
        nonlocal since, most
        most, since = max(most, since), 0

    monkeypatch.setattr(JsonWalk, "step", counted)
    monkeypatch.setattr(json_walk, "_VALUE", Parser())
    call = await read_long_body(body(BODIES[shape]()), checkpoint)
    assert isinstance(call, Request)
    assert most <= 2
    assert steps >= SIZE // WINDOW


async def test_inputs_take_about_the_memory_of_the_body() -> None:
    """As strings, each of these inputs would take 60 bytes."""
    long = body("[" + "12," * (SIZE // 3) + "1]")

    async def checkpoint() -> None:
        pass

    tracemalloc.start()
    try:
        call = await read_long_body(long, checkpoint)
        assert isinstance(call, Request)
        params = submit_params_from_json(call.params)
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(params.inputs) == SIZE // 3 + 1
    assert size <= 1.3 * len(long)
    assert peak <= 2 * len(long)


async def test_inputs_of_a_message_are_packed_too() -> None:
    values = [runs_pb2.JsonValue(json=str(number)) for number in range(20_000)]
    values[7].json = '"' + "é" * 200_000 + '"'
    inputs = PackedTexts()
    await read_inputs(values, inputs, FairQueue())
    assert inputs == [value.json for value in values]


async def test_a_fingerprint_is_made_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else has its turn after each chunk of inputs, when a slice of time has passed."""
    turns = 0

    async def turn(_: float) -> None:
        nonlocal turns
        turns += 1

    monkeypatch.setattr("gateway.concurrency.time_slice.SLICE_SECONDS", 0.0)
    monkeypatch.setattr(asyncio, "sleep", turn)
    call = await read_long_body(body("[" + "12," * (SIZE // 3) + "1]"), lambda: turn(0))
    assert isinstance(call, Request)
    turns = 0
    await fingerprint(submit_params_from_json(call.params))
    assert turns >= SIZE // CHUNK_TEXT
