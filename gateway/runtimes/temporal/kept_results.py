"""The results of runs: those of the engine, and those in objects."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from gateway.core.model import ItemError, ItemResult, RunState
from gateway.runtimes.temporal.messages import KeptResult, ResultsPart
from gateway.storage.objects import ObjectStore

_T = TypeVar("_T")

_LONG: Final = 256 << 10
"""Objects with more bytes are read and written in a thread: it takes longer than a turn of the event loop may."""

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(tuple[KeptResult, ...])
_PARTS: Final = msgspec.msgpack.Decoder(tuple[ResultsPart, ...])


def kept(result: ItemResult, log: bytes | None) -> KeptResult:
    """What is kept of the result of an item, and of its steps."""
    at = result.completed_at or 0
    if (error := result.error) is None:
        return KeptResult(result.item_index, result.value, at, log=log)
    return KeptResult(result.item_index, None, at, error.code, error.message, error.data, log)


def told(result: KeptResult) -> ItemResult:
    """The result that was kept."""
    if result.code is None:
        return ItemResult(
            item_index=result.item_index, status=RunState.SUCCESS, value=result.value, completed_at=result.completed_at
        )
    error = ItemError(code=result.code, message=result.message, data=result.data)
    return ItemResult(
        item_index=result.item_index, status=RunState.FAILED, error=error, completed_at=result.completed_at
    )


def size_of(result: KeptResult) -> int:
    """About how many characters a result has."""
    return len(result.value or "") + len(result.message) + len(result.data or "") + len(result.log or b"") + 32


def part_of(results: Sequence[KeptResult], key: str | None = None) -> ResultsPart:
    """The part that some results are; `key` is the object that has them, if one does."""
    return ResultsPart(
        min(result.item_index for result in results),
        max(result.item_index for result in results) + 1,
        len(results),
        sum(result.code is not None for result in results),
        sum(map(size_of, results)),
        tuple(results) if key is None else None,
        key,
    )


async def put_results(store: ObjectStore, key: str, results: Sequence[KeptResult]) -> ResultsPart:
    """Keep results in an object. Raises Unavailable."""
    part = part_of(results, key)
    data = await _apart(part.size, lambda: _ENCODER.encode(results))
    await store.put(key, data)
    return part


async def get_results(store: ObjectStore, part: ResultsPart) -> tuple[KeptResult, ...]:
    """The results of a part that were not cancelled. Raises Unavailable, and ObjectMissing if they are gone."""
    if part.results is not None or part.key is None:
        return part.results or ()
    data = await store.get(part.key)
    return await _apart(len(data), lambda: _DECODER.decode(data))


async def put_parts(store: ObjectStore, key: str, parts: Sequence[ResultsPart]) -> ResultsPart:
    """Keep parts in an object, and return the part that they are together. Raises Unavailable."""
    await store.put(key, _ENCODER.encode(parts))
    return ResultsPart(
        min(part.low for part in parts),
        max(part.high for part in parts),
        sum(part.count for part in parts),
        sum(part.failed for part in parts),
        sum(part.size for part in parts),
        key=key,
        has_parts=True,
    )


async def get_parts(store: ObjectStore, key: str) -> tuple[ResultsPart, ...]:
    """The parts that an object has. Raises Unavailable, and ObjectMissing if they are gone."""
    return _PARTS.decode(await store.get(key))


def cancelled_results(part: ResultsPart, low: int, high: int) -> Iterable[ItemResult]:
    """The results of the items `low` to `high` - 1 of a part whose items were cancelled."""
    for index in range(max(low, part.low), min(high, part.high)):
        yield ItemResult(item_index=index, status=RunState.CANCELLED, completed_at=part.cancelled_at)


async def _apart(size: int, work: Callable[[], _T]) -> _T:
    return await asyncio.to_thread(work) if size > _LONG else work()
