"""What a run has come to, as the history of a closed execution tells it.

A workflow that is closed can be asked as well, but only while gateways execute runs, and never again if the last of
them have failed at it. The history is there as long as the run is, and all gateways read the same.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from gateway.core.model import Nanoseconds
from gateway.runtimes.temporal.messages import (
    CANCEL,
    EXECUTE_CHUNK,
    KEEP_INDEX,
    KEEP_PART,
    SPLIT,
    CancelRequest,
    ChunkDone,
    ChunkSplit,
    ItemChunk,
    ItemCounts,
    PartsToKeep,
    ResultsPart,
    StartRun,
)
from gateway.runtimes.temporal.run_progress import RunProgress, defect

_T = TypeVar("_T")


class ClosedHistory:
    """Notes the events of an execution in their order."""

    def __init__(self) -> None:
        self.parts: list[ResultsPart] = []
        """The results, in the order of completion."""
        self.left: list[tuple[int, int]] = []
        """The items without results, in ranges and in their order."""
        self.started_at: Nanoseconds | None = None
        """When a gateway has begun with the run; None if none has."""
        self.revision = 0
        """At least that of each state that was told of the run: each change has an event of its own."""
        self._chunks: dict[int, ItemChunk] = {}
        self._split: dict[int, int] = {}
        self._kept: dict[int, PartsToKeep] = {}
        self._is_inside = False

    def counts(self) -> ItemCounts:
        """How many items have ended in each state."""
        failed = sum(part.failed for part in self.parts)
        return ItemCounts(0, sum(part.count for part in self.parts) - failed, failed, 0)

    async def note(self, event: HistoryEvent, converter: DataConverter) -> None:
        """Note the next event, whose payloads `converter` reads."""
        self.revision += 1
        noted = _NOTED.get(event.event_type)
        if noted is not None:
            await noted(self, event, converter)

    async def _started(self, event: HistoryEvent, converter: DataConverter) -> None:
        start = await _read(converter, event.workflow_execution_started_event_attributes.input, StartRun)
        self.left = RunProgress(start, 0).left()
        if start.carried is not None:
            self.parts = list(start.carried.parts)
            self.started_at = start.carried.started_at
            self.revision += start.carried.revision

    async def _stepped(self, event: HistoryEvent, converter: DataConverter) -> None:
        if self.started_at is None:
            self.started_at = event.event_time.ToNanoseconds()

    async def _told(self, event: HistoryEvent, converter: DataConverter) -> None:
        told = event.workflow_execution_signaled_event_attributes
        if told.signal_name == CANCEL and (await _read(converter, told.input, CancelRequest)).inside:
            self._is_inside = True
        elif told.signal_name == SPLIT and not self._is_inside:
            self._note_split(await _read(converter, told.input, ChunkSplit))

    def _note_split(self, told: ChunkSplit) -> None:
        """As `RunProgress.split`: told of a chunk that is not there, it is nothing."""
        stop = next((chunk.stop for chunk in self._chunks.values() if chunk.start == told.start), told.start)
        if told.start not in self._split and told.start <= told.at < stop:
            self._split[told.start] = told.at
            if told.part is not None:
                self._add(told.part)

    async def _handed_out(self, event: HistoryEvent, converter: DataConverter) -> None:
        task = event.activity_task_scheduled_event_attributes
        if task.activity_type.name == EXECUTE_CHUNK:
            self._chunks[event.event_id] = await _read(converter, task.input, ItemChunk)
        elif task.activity_type.name in (KEEP_PART, KEEP_INDEX):
            self._kept[event.event_id] = await _read(converter, task.input, PartsToKeep)

    async def _done(self, event: HistoryEvent, converter: DataConverter) -> None:
        task = event.activity_task_completed_event_attributes
        if (chunk := self._chunks.pop(task.scheduled_event_id, None)) is not None:
            done = await _read(converter, task.result, ChunkDone)
            low = self._split.pop(chunk.start, chunk.start)
            # What is inside a cancelled run counts as if its items had not ended; what was split off has ended before.
            if done.part is not None and not self._is_inside and done.part.low >= low:
                self._add(done.part)
        elif (kept := self._kept.pop(task.scheduled_event_id, None)) is not None:
            first = self.parts.index(kept.parts[0])
            self.parts[first : first + len(kept.parts)] = [await _read(converter, task.result, ResultsPart)]

    async def _failed(self, event: HistoryEvent, converter: DataConverter) -> None:
        chunk = self._chunks.pop(event.activity_task_failed_event_attributes.scheduled_event_id, None)
        if chunk is not None and not self._is_inside:
            at = self._split.pop(chunk.start, None)
            low, high = (chunk.start, chunk.stop) if at is None else (at, at + 1)
            self._add(defect(low, high, event.event_time.ToNanoseconds()))

    def _add(self, part: ResultsPart) -> None:
        """Add the results of a chunk: of items that follow each other."""
        self.parts.append(part)
        left: list[tuple[int, int]] = []
        for low, high in self.left:
            if high <= part.low or part.high <= low:
                left.append((low, high))
            else:
                left += [each for each in ((low, part.low), (part.high, high)) if each[0] < each[1]]
        self.left = left


async def _read(converter: DataConverter, payloads: Payloads, kind: type[_T]) -> _T:
    [message] = await converter.decode(payloads.payloads, [kind])
    assert isinstance(message, kind)
    return message


_NOTED: Final[dict[int, Callable[[ClosedHistory, HistoryEvent, DataConverter], Awaitable[None]]]] = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: ClosedHistory._started,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED: ClosedHistory._stepped,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: ClosedHistory._told,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: ClosedHistory._handed_out,
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: ClosedHistory._done,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: ClosedHistory._failed,
}
