"""What the engine stores of runs: the input and the result of a workflow, of its activities, signals and queries.

Gateways of different releases read what others have written, so these are promises: members are only added, at the
end of those that are arrays, with a default that means what there was before. What is large is in the object storage,
and the engine has its key.
"""

from typing import Final

from msgspec import Struct

from gateway.core.model import JsonText, Nanoseconds, RunState
from gateway.flows.run_record import RunRecord

WORKFLOW: Final = "runs.v1.Run"
EXECUTE_CHUNK: Final = "runs.v1.ExecuteChunk"
KEEP_PART: Final = "runs.v1.KeepPart"
KEEP_INDEX: Final = "runs.v1.KeepIndex"
CANCEL_NESTED: Final = "runs.v1.CancelNested"
CANCEL: Final = "cancel"
NESTED: Final = "nested"
SPLIT: Final = "split"
PROGRESS: Final = "progress"
TASK_QUEUE: Final = "runs-gateway"
"""The names of the workflow, its activities, signals and queries, and of the queue that all workers take from."""

UPKEEP_QUEUE: Final = "runs-gateway-upkeep"
"""The queue of what a run needs besides its items: it must go on when items take all places, for ever maybe."""

DELETED: Final = "runs.v1.Deleted"
NOWHERE: Final = "runs-gateway-deleted"
"""What takes the place of a run that is deleted, for a moment, and a queue from which nobody takes."""

DELETION: Final = "runs.v1.Deletion"
"""What tells that a run is deleted."""

MAX_INLINE: Final = 128 << 10
"""How many characters go through the engine at most; more go by the object storage."""


class KeptResult(Struct, frozen=True, array_like=True, gc=False):
    """The result of an item: a value, or the code, message and data of an error. `log` is what its steps came to."""

    item_index: int
    value: JsonText | None
    completed_at: Nanoseconds
    code: int | None = None
    message: str = ""
    data: JsonText | None = None
    log: bytes | None = None


class ResultsPart(Struct, frozen=True, array_like=True, gc=False):
    """Some results of a run, which follow each other in the order of completion, of items from `low` to `high` - 1.

    They are `results`, or in the object `key`. Without both, the items `low` to `high` - 1 were cancelled at
    `cancelled_at`. `size` is how many characters they have. With `has_parts`, the object has parts and no results.
    """

    low: int
    high: int
    count: int
    failed: int
    size: int
    results: tuple[KeptResult, ...] | None = None
    key: str | None = None
    cancelled_at: Nanoseconds | None = None
    has_parts: bool = False


class Inputs(Struct, frozen=True, omit_defaults=True, gc=False):
    """The inputs of a run: `texts`, or objects, of which each begins with the input that `starts` says.

    `token` is a part of the names of the objects of this submit: two with the same idempotency key do not overwrite
    each other's.
    """

    texts: tuple[JsonText, ...] | None = None
    starts: tuple[int, ...] = ()
    token: str = ""


class Carried(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a run has come to before its workflow began anew, to keep its history short.

    `rest` are ranges of items that have not been executed, from `following` on none has. `done` are ranges that have
    ended after items that have not.
    """

    revision: int
    started_at: Nanoseconds
    following: int
    prefix: int
    rest: tuple[tuple[int, int], ...] = ()
    done: tuple[tuple[int, int], ...] = ()
    parts: tuple[ResultsPart, ...] = ()
    nested: bool = False


class StartRun(Struct, frozen=True, omit_defaults=True, gc=False):
    """The input of a workflow. With `has_parameters`, the overrides and variables of the run are in an object.

    `pace` is how many items a second are to be expected, as far as is known. `timeout_reason` is why the run is
    cancelled at its deadline.
    """

    record: RunRecord
    inputs: Inputs
    has_parameters: bool = False
    carried: Carried | None = None
    pace: float = 0.0
    timeout_reason: str | None = None


class ItemChunk(Struct, frozen=True, omit_defaults=True, gc=False):
    """Items to execute one after the other: `start` to `stop` - 1. `texts` are their inputs, if not in objects.

    Results of more than `inline` characters go to the object storage.
    """

    record: RunRecord
    start: int
    stop: int
    inputs: Inputs
    inline: int
    has_parameters: bool = False


class ChunkDone(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a chunk has come to: its items below `rest` have results, which are `part`. They took so many `seconds`.

    `nested`: its items may have submitted runs.
    """

    rest: int
    part: ResultsPart | None = None
    seconds: float = 0.0
    nested: bool = False


class ChunkSplit(Struct, frozen=True, omit_defaults=True, gc=False):
    """The signal that the chunk from `start` on executes the item `at`, which takes long, and from now on that alone.

    Those before it have results, which are `part`: they took so many `seconds`. Those behind it are given back.
    """

    start: int
    at: int
    part: ResultsPart | None = None
    seconds: float = 0.0


class PartsToKeep(Struct, frozen=True, gc=False):
    """Parts that are to be one object, whose first result has the place `place`."""

    run_id: str
    place: int
    parts: tuple[ResultsPart, ...]


class NestedToCancel(Struct, frozen=True, omit_defaults=True, gc=False):
    """The run whose nested runs are to be cancelled, the one that all of them are inside, and why it was."""

    run_id: str
    root_id: str
    reason: str | None = None


class CancelRequest(Struct, frozen=True, omit_defaults=True, gc=False):
    """The signal that cancels a run. With `inside`, one around it is, and takes care of those inside this one."""

    reason: str | None = None
    inside: bool = False


class ItemCounts(Struct, frozen=True, array_like=True, gc=False):
    """How many items run, and have ended in each state."""

    running: int
    success: int
    failed: int
    cancelled: int


class RunReport(Struct, frozen=True, omit_defaults=True, gc=False):
    """The answer of a query: a run at one moment, and the parts from the place on that was asked for.

    `place` is that of the first result of the first part. `more`: further parts are to be asked for. `split` are the
    first items of chunks that execute one item alone, and that item.
    """

    state: RunState
    revision: int
    counts: ItemCounts
    prefix: int
    completions: int
    started_at: Nanoseconds
    place: int = 0
    parts: tuple[ResultsPart, ...] = ()
    more: bool = False
    cancelling: bool = False
    executing: tuple[tuple[int, int], ...] = ()
    split: tuple[tuple[int, int], ...] = ()


class RunEnd(Struct, frozen=True, omit_defaults=True, gc=False):
    """How a run has ended: what its description holds."""

    state: RunState
    revision: int
    counts: ItemCounts
    started_at: Nanoseconds
    completed_at: Nanoseconds
    cancel_reason: str | None = None


class RunResult(Struct, frozen=True, omit_defaults=True, gc=False):
    """The result of a workflow: its end, and all of its parts."""

    ended: RunEnd
    parts: tuple[ResultsPart, ...]
