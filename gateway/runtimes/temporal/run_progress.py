"""How far a run is: which items are to be executed, and the order in which they have ended.

It is the state of a workflow. It is made of the history alone, so that it comes out the same wherever it is replayed;
nothing here may change in a way that makes earlier histories come out differently.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from gateway.core.errors import Internal
from gateway.core.model import Nanoseconds, RunState
from gateway.flows.item_work import DEFAULT_CONCURRENCY
from gateway.runtimes.temporal.messages import (
    Carried,
    ChunkDone,
    ChunkSplit,
    ItemCounts,
    KeptResult,
    ResultsPart,
    RunReport,
    StartRun,
)

MAX_CHUNKS: Final = 1_000
"""How many chunks are under way at most, whatever the run allows: the engine allows 2,000."""

CHUNK_ITEMS: Final = 256
"""How many items a chunk has at most."""

_SHARES: Final = 4
"""The items that are left are handed out in so many chunks for each that may be under way, so that all end together."""

SHORT_CHUNK: Final = 0.1
"""But a chunk has as many items as take so many seconds, as far as is known: to hand it out costs time as well."""

KEEP_RESULTS: Final = 1_024
KEEP_SIZE: Final = 128 << 10
"""So many results, or characters of them, which are in the history, are put together into an object."""

INDEX_PARTS: Final = 1_000
"""So many parts in objects are put together into one object, which tells where they are: a workflow goes on with all
of its parts when it begins anew, and has them in its result, and the engine takes no long messages.
"""

MAX_WAITING_SIZE: Final = 1 << 20
"""While so many characters wait to be put together, nothing is handed out: the storage may be away."""

_ANSWER_PARTS: Final = 1_000
_ANSWER_SIZE: Final = 256 << 10
"""How many parts, and characters in them, an answer has at most."""


class RunProgress:
    """See the module. Ranges are pairs of the first item and the one after the last."""

    def __init__(self, start: StartRun, now: Nanoseconds) -> None:
        self.total = start.record.total
        self.limit = min(start.record.max_concurrency or DEFAULT_CONCURRENCY, MAX_CHUNKS)
        carried = start.carried or Carried(revision=0, started_at=now, following=0, prefix=0)
        self.revision = carried.revision
        self.started_at = carried.started_at
        self.parts: list[ResultsPart] = list(carried.parts)
        self.executing: dict[int, int] = {}
        """The ranges of the chunks that are under way."""
        self._split: dict[int, int] = {}
        """The first items of the chunks that have been split, and the item that each executes."""
        self.cancelling = False
        self.nested = carried.nested
        """Whether there may be runs that its items have submitted."""
        self._following = carried.following
        self._rest = deque(carried.rest)
        self._prefix = carried.prefix
        self._done = dict(carried.done)
        self._failed = sum(part.failed for part in self.parts)
        self._completions = sum(part.count for part in self.parts)
        self._cancelled = 0
        self.pace = start.pace
        """How many items a second the last chunk has executed."""
        in_history = [part for part in self.parts if part.results is not None]
        self._waiting_size = sum(part.size for part in in_history)
        self._waiting_count = sum(part.count for part in in_history)
        """The characters, and the number, of the results that are in the history."""

    @property
    def finished(self) -> bool:
        """Whether all items have results."""
        return self._completions == self.total

    def hand_out(self) -> tuple[int, int] | None:
        """The next items to execute; None if there are none, or not now."""
        if self.cancelling or len(self.executing) >= self.limit or self._waiting_size > MAX_WAITING_SIZE:
            return None
        if self._rest:
            start, stop = self._rest.popleft()
        elif self._following < self.total:
            start, stop = self._following, self.total
            self._following = self.total
        else:
            return None
        left = stop - start + sum(high - low for low, high in self._rest)
        size = max(1, min(CHUNK_ITEMS, max(left // (_SHARES * self.limit), int(self.pace * SHORT_CHUNK))))
        if start + size < stop:
            self._rest.appendleft((start + size, stop))
        stop = min(stop, start + size)
        self.executing[start] = stop
        self._split.pop(start, None)
        self.revision += 1
        return start, stop

    def range_of(self, start: int) -> tuple[int, int]:
        """The items of the chunk that began with the item `start`, which is under way."""
        low = self._split.get(start, start)
        return low, self.executing[low]

    def split(self, told: ChunkSplit) -> bool:
        """An item of a chunk takes long: those before it have results, and those behind it are handed out again.

        False if there is no such chunk: who tells so has told it before, or executes what others have ended.
        """
        stop = self.executing.get(told.start)
        if stop is None or told.start in self._split or not told.start <= told.at < stop:
            return False
        del self.executing[told.start]
        self.executing[told.at] = told.at + 1
        self._split[told.start] = told.at
        if told.at + 1 < stop:
            self._rest.appendleft((told.at + 1, stop))
        if told.part is not None:
            self._add(told.part)
        self.pace = (told.at - told.start) / max(told.seconds, 0.0001)
        self.revision += 1
        return True

    def ended(self, start: int, done: ChunkDone) -> None:
        """The chunk that begins with the item `start` has ended."""
        low = self._split.pop(start, start)
        stop = self.executing.pop(low)
        self.nested |= done.nested
        rest, part = max(done.rest, low), done.part
        if part is not None and part.low < low:
            # A gateway that did not know that the chunk was split has executed all of it: what has results keeps them.
            rest, part = low, None
        if rest < stop:
            self._rest.appendleft((rest, stop))
        if part is not None:
            self._add(part)
            self.pace = part.count / max(done.seconds, 0.0001)
        self.revision += 1

    def to_keep(self) -> tuple[int, list[ResultsPart]] | None:
        """Parts to be put together into an object, and the place of the first one; None if there are not enough."""
        if self._waiting_size < KEEP_SIZE and self._waiting_count < KEEP_RESULTS:
            return None
        return self.waiting()

    def waiting(self) -> tuple[int, list[ResultsPart]]:
        """The first parts, next to each other, that are in the history, and the place of the first one."""
        place = 0
        found: list[ResultsPart] = []
        for part in self.parts:
            if part.results is not None:
                found.append(part)
            elif found:
                break
            else:
                place += part.count
        return place, found

    def to_index(self) -> tuple[int, list[ResultsPart]] | None:
        """Parts in objects, next to each other, that are to be named by one object, and the place of the first one."""
        if len(self.parts) < INDEX_PARTS:
            return None
        place = 0
        found: list[ResultsPart] = []
        for part in self.parts:
            if part.key is None or part.has_parts:
                place += part.count + sum(each.count for each in found)
                found = []
                continue
            found.append(part)
            if len(found) == INDEX_PARTS:
                return place, found
        return None

    def kept(self, parts: list[ResultsPart], together: ResultsPart) -> None:
        """Parts have been put together into one."""
        first = self.parts.index(parts[0])
        self.parts[first : first + len(parts)] = [together]
        in_history = [part for part in parts if part.results is not None]
        self._waiting_size -= sum(part.size for part in in_history)
        self._waiting_count -= sum(part.count for part in in_history)

    def left(self) -> list[tuple[int, int]]:
        """The items without results, in ranges and in their order."""
        following = [(self._following, self.total)] if self._following < self.total else []
        return sorted([*self._rest, *self.executing.items(), *following])

    def cancel_rest(self, now: Nanoseconds) -> None:
        """All items without results are cancelled. None is being executed."""
        ranges = self.left()
        self._rest.clear()
        self._following = self.total
        for low, high in ranges:
            self._cancelled += high - low
            self._add(ResultsPart(low, high, high - low, 0, 0, cancelled_at=now))
        self.revision += 1

    def carried(self) -> Carried:
        """What the workflow goes on with when it begins anew, while nothing is executed."""
        done = tuple(sorted(self._done.items()))
        return Carried(
            self.revision,
            self.started_at,
            self._following,
            self._prefix,
            tuple(self._rest),
            done,
            tuple(self.parts),
            self.nested,
        )

    def counts(self) -> ItemCounts:
        """How many items run, and have ended in each state."""
        success = self._completions - self._failed - self._cancelled
        return ItemCounts(len(self.executing), success, self._failed, self._cancelled)

    def state(self) -> RunState:
        """The state of the run, if it ends now."""
        if self._cancelled:
            return RunState.CANCELLED
        return RunState.FAILED if self._failed else RunState.SUCCESS

    def answer(self, seen: int) -> RunReport:
        """The answer of a query by whom `seen` results are known."""
        place, parts, more = self._parts_from(seen)
        return RunReport(
            state=RunState.RUNNING,
            revision=self.revision,
            counts=self.counts(),
            prefix=self._prefix,
            completions=self._completions,
            started_at=self.started_at,
            place=place,
            parts=tuple(parts),
            more=more,
            cancelling=self.cancelling,
            executing=tuple(self.executing.items()),
            split=tuple(self._split.items()),
        )

    def _parts_from(self, seen: int) -> tuple[int, list[ResultsPart], bool]:
        first = place = 0
        while first < len(self.parts) and place + self.parts[first].count <= seen:
            place += self.parts[first].count
            first += 1
        found = _within(self.parts[first : first + _ANSWER_PARTS])
        return place, found, first + len(found) < len(self.parts)

    def _add(self, part: ResultsPart) -> None:
        self.parts.append(part)
        if part.results is not None:
            self._waiting_size += part.size
            self._waiting_count += part.count
        self._completions += part.count
        self._failed += part.failed
        low, high = part.low, part.high
        self._done[low] = high
        while (end := self._done.pop(self._prefix, None)) is not None:
            self._prefix = end


def _within(parts: Iterable[ResultsPart]) -> list[ResultsPart]:
    """The first parts, as many as an answer may have; at least one."""
    found: list[ResultsPart] = []
    size = 0
    for part in parts:
        size += part.size if part.results is not None else 0
        if found and size > _ANSWER_SIZE:
            break
        found.append(part)
    return found


def defect(start: int, stop: int, now: Nanoseconds) -> ResultsPart:
    """The results of items that have none, since something is wrong with the gateway."""
    code, message = Internal("").jsonrpc_code, "internal error"
    results = tuple(KeptResult(index, None, now, code, message) for index in range(start, stop))
    return ResultsPart(start, stop, stop - start, stop - start, len(message) * (stop - start), results)
