"""The messages that an update of a run is sent as: built and serialized once for all followers."""

from collections.abc import Generator, Iterable, Iterator
from typing import TypeAlias

from msgspec.structs import replace

from gateway.adapter import status_proto
from gateway.adapter.long_results import with_long_result
from gateway.adapter.result_wire import with_results
from gateway.core.errors import TooLarge
from gateway.core.model import ItemError, ItemResult
from gateway.core.runtime import text_size
from gateway.runs.update import Update
from runs.v1 import runs_pb2

Encoding: TypeAlias = runs_pb2.ResultEncoding.ValueType

ENVELOPE_BYTES = 64
"""At most what a WatchRunsResponse adds to the update of a run."""

_JSON = runs_pb2.RESULT_ENCODING_JSON
_VALUE = runs_pb2.RESULT_ENCODING_VALUE
_PART_TEXT = 1 << 20
_PART_RESULTS = 512
_PART_OTHERS = 256
# A VALUE takes far longer to build than a JSON text, and up to six times its space.
_PART_VALUES_TEXT = 32 << 10
_PART_VALUES = 128


class UpdateMessages:
    """Builds the messages of updates, and keeps them for all followers for as long as the updates live.

    A result with which a message would exceed `limit` bytes is replaced by an error that says so. The limit holds as
    well for the WatchRunsResponse around a message.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._json, self._values = object(), object()

    def of(self, update: Update, encoding: Encoding) -> Iterable[bytes | None]:
        """The serialized GetRunResponses of an update, in order: each with about 1 MiB of results at most.

        Each is a short piece of work when it is first asked for, and shared from then on. Of one with a longer result,
        there are several pieces of work, and None after each: others shall have a turn.
        """
        key = self._values if encoding == _VALUE else self._json
        built: _Built | None = update.made.get(key)
        if built is None:
            built = update.made[key] = _Built()
            if not update.status.results:
                built.messages.append(_message(update, 0, 0).SerializeToString())
                built.complete = True
        return built.messages if built.complete else self._build(built, update, encoding)

    def _build(self, built: "_Built", update: Update, encoding: Encoding) -> Iterator[bytes | None]:
        """The messages; a missing one is built when it is its turn, by all followers together that ask for it."""
        index = 0
        while index < len(built.messages) or not built.complete:
            if index == len(built.messages) and not built.step(update, encoding, self._limit):
                yield None
            else:
                yield built.messages[index]
                index += 1


def parts(results: list[ItemResult], encoding: Encoding) -> Iterator[list[ItemResult]]:
    """Results in parts, each of which is a short piece of work to translate."""
    start = 0
    while start < len(results):
        end = _part_end(results, start, encoding)
        yield results[start:end]
        start = end


class _Built:
    """The messages of an update that exist already, how many results they hold, and whether these are all."""

    __slots__ = ("_adding", "complete", "messages", "results")

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.results = 0
        self.complete = False
        self._adding: Generator[None, None, bytes | None] | None = None

    def step(self, update: Update, encoding: Encoding, limit: int) -> bool:
        """Build the next one, or a part of it if it is long. Return whether it is there."""
        results = update.status.results or []
        end = _part_end(results, self.results, encoding)
        if end - self.results == 1 and encoding != _VALUE and len(results[self.results].value or "") > _PART_TEXT:
            if self._adding is None:
                self._adding = _steps(update, self.results, limit - ENVELOPE_BYTES)
            try:
                next(self._adding)
                return False
            except StopIteration as finished:
                self._adding = None
                long = finished.value or _serialized(update, self.results, end, encoding, replaced=_too_large(limit))
                self._add(long, end, results)
        else:
            self._add_short(update, end, encoding, limit)
        return True

    def _add_short(self, update: Update, end: int, encoding: Encoding, limit: int) -> None:
        results = update.status.results or []
        room = limit - ENVELOPE_BYTES
        message = _serialized(update, self.results, end, encoding)
        while len(message) > room and end - self.results > 1:
            end = (self.results + end) // 2
            message = _serialized(update, self.results, end, encoding)
        if len(message) > room and encoding == _VALUE:
            message = _serialized(update, self.results, end, _JSON)
        if len(message) > room:
            message = _serialized(update, self.results, end, encoding, replaced=_too_large(limit))
        self._add(message, end, results)

    def _add(self, message: bytes, end: int, results: list[ItemResult]) -> None:
        self.messages.append(message)
        self.results = end
        self.complete = end == len(results)


def _serialized(
    update: Update, start: int, end: int, encoding: Encoding, *, replaced: ItemError | None = None
) -> bytes:
    results = (update.status.results or [])[start:end]
    if replaced is not None:
        results = [replace(result, value=None, error=replaced) for result in results]
    message = _message(update, start, end)
    if encoding != _VALUE and results:
        return with_results(message, results)
    status_proto.add_results(message.run, results, encoding)
    return message.SerializeToString()


def _message(update: Update, start: int, end: int) -> runs_pb2.GetRunResponse:
    """A message without its results."""
    message = runs_pb2.GetRunResponse(
        revision=update.revision,
        resume_token=update.token_after(end),
        heartbeat=update.heartbeat,
        restarted=update.restarted and start == 0,
        finished_prefix=update.prefix,
        result_count=update.completions,
    )
    status = update.status
    status_proto.set_run_status(message.run, replace(status, results=None) if status.results else status, _JSON)
    return message


def _steps(update: Update, start: int, room: int) -> Generator[None, None, bytes | None]:
    """Build the message with one long result; None if it does not fit."""
    results = update.status.results or []
    return with_long_result(_message(update, start, start + 1), results[start], room)


def _part_end(results: list[ItemResult], start: int, encoding: Encoding) -> int:
    """Where the part that begins with this result ends: at least one result later, unless there are no more."""
    text, number = (_PART_VALUES_TEXT, _PART_VALUES) if encoding == _VALUE else (_PART_TEXT, _PART_RESULTS)
    end = min(start + number, len(results))
    size = 0
    for index in range(start, end):
        result = results[index]
        # A result without a value takes three times as long as others do.
        size += len(result.value) if result.value is not None else max(text_size(result), text // _PART_OTHERS)
        if size > text and index > start:
            return index
    return end


def _too_large(limit: int) -> ItemError:
    text = f"the result does not fit into a message of {limit} bytes: fetch it by JSON-RPC (runs/get)"
    return ItemError(code=TooLarge.code, message=text)
