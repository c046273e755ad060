"""The inputs and long parameters of runs: small ones go through the engine, others are objects."""

import secrets
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.some_at_once import some_at_once
from gateway.core.model import JsonText
from gateway.core.packed_texts import chunks_of
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.messages import MAX_INLINE, Inputs, ItemChunk, StartRun
from gateway.runtimes.temporal.run_names import input_key, parameters_key
from gateway.storage.objects import ObjectStore

_T = TypeVar("_T")

SEGMENT_SIZE: Final = 1 << 20
"""About how many characters an object with inputs has."""

INLINE_INPUTS: Final = 1_024
"""How many inputs go through the engine at most."""

CACHED: Final = 256
CACHED_SIZE: Final = 32 << 20
"""Of how many objects, and characters, the contents stay in memory: the chunks of a run read the same ones."""

_WRITES: Final = 8
"""How many objects of a run are written at the same time."""


class LongParameters(msgspec.Struct, frozen=True, gc=False):
    """Parameters that all items of a run have."""

    overrides: JsonText | None
    variables: JsonText


_LONG: Final = msgspec.json.Decoder(LongParameters)
_TEXTS: Final = msgspec.msgpack.Decoder(list[str])


class KeptInputs:
    """Writes what a run was submitted with, and reads it where its items execute."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._segments: BoundedCache[str, list[JsonText]] = BoundedCache(CACHED, CACHED_SIZE)
        self._parameters: BoundedCache[str, LongParameters] = BoundedCache(CACHED, CACHED_SIZE)

    async def keep(self, record: RunRecord, inputs: Sequence[JsonText], pace: float = 0.0) -> StartRun:
        """Make durable what does not go through the engine, and return what does. Raises Unavailable.

        `pace` is how many items a second are to be expected.
        """
        token = secrets.token_hex(4)
        has_parameters = len(record.variables) + len(record.overrides or "") > MAX_INLINE
        if has_parameters:
            long = LongParameters(record.overrides, record.variables)
            await self._store.put(parameters_key(record.run_id, token), msgspec.json.encode(long))
            record = replace(record, overrides=None, variables="{}")
        kept = await self._keep_inputs(record.run_id, token, inputs)
        return StartRun(record, kept, has_parameters, pace=pace)

    async def forget(self, start: StartRun) -> None:
        """Delete what was made durable for a run that has not come to be. Raises Unavailable."""
        run_id, inputs = start.record.run_id, start.inputs
        keys = [input_key(run_id, inputs.token, number) for number in range(len(inputs.starts))]
        if start.has_parameters:
            keys.append(parameters_key(run_id, inputs.token))
        await self._store.delete(keys)

    async def _keep_inputs(self, run_id: str, token: str, inputs: Sequence[JsonText]) -> Inputs:
        if len(inputs) <= INLINE_INPUTS and sum(map(len, inputs)) <= MAX_INLINE:
            return Inputs(tuple(inputs), token=token)
        starts: list[int] = []
        await some_at_once(self._writes(run_id, token, inputs, starts), _WRITES)
        return Inputs(None, tuple(starts), token)

    def _writes(
        self, run_id: str, token: str, inputs: Sequence[JsonText], starts: list[int]
    ) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """The calls that write inputs; `starts` is told where each object begins."""
        for start, texts in _segments(inputs):
            data = msgspec.msgpack.encode(texts)
            yield partial(self._store.put, input_key(run_id, token, len(starts)), data)
            starts.append(start)

    async def texts(self, chunk: ItemChunk) -> list[JsonText]:
        """The inputs of a chunk. Raises Unavailable, and ObjectMissing if they have been deleted."""
        if chunk.inputs.texts is not None:
            return list(chunk.inputs.texts)
        return await self.between(chunk.record.run_id, chunk.inputs, chunk.start, chunk.stop)

    async def between(self, run_id: str, inputs: Inputs, start: int, stop: int) -> list[JsonText]:
        """The inputs of the items `start` to `stop` - 1, all of which are in objects if one is."""
        if inputs.texts is not None:
            return list(inputs.texts[start:stop])
        found: list[JsonText] = []
        while start < stop:
            some = (await self.following(run_id, inputs, start))[: stop - start]
            found += some
            start += len(some)
        return found

    async def following(self, run_id: str, inputs: Inputs, start: int) -> list[JsonText]:
        """The inputs from the item `start` on: those that one object has. Raises as `texts` does."""
        if inputs.texts is not None:
            return list(inputs.texts[start:])
        number = bisect_right(inputs.starts, start) - 1
        texts = await self._read(self._segments, input_key(run_id, inputs.token, number), _TEXTS.decode)
        return texts[start - inputs.starts[number] :]

    async def parameters(self, chunk: ItemChunk) -> LongParameters:
        """The parameters that all items of a run have."""
        record = chunk.record
        if not chunk.has_parameters:
            return LongParameters(record.overrides, record.variables)
        return await self._read(self._parameters, parameters_key(record.run_id, chunk.inputs.token), _LONG.decode)

    async def _read(self, cache: BoundedCache[str, _T], key: str, decode: Callable[[bytes], _T]) -> _T:
        """What an object holds, which stays in a cache."""
        found = cache.use(key)
        if found is None:
            data = await self._store.get(key)
            found = decode(data)
            cache.put(key, found, len(data))
        return found


def _segments(inputs: Sequence[JsonText]) -> Iterator[tuple[int, list[JsonText]]]:
    """The inputs in segments, each with the index of its first one."""
    texts: list[JsonText] = []
    start = size = 0
    for chunk in chunks_of(inputs):
        texts += chunk.texts()
        size += len(chunk.text)
        if size >= SEGMENT_SIZE:
            yield start, texts
            start, texts, size = start + len(texts), [], 0
    if texts:
        yield start, texts
