"""The canonical messages of the runs methods, as every part of the gateway passes them on.

A payload (an input, a value, overrides, a blob) is the text of one JSON value: checked to be well formed at the edge,
never rewritten, and parsed only where the value is needed. Times are nanoseconds since the epoch: none is rounded.

Field names are the snake_case form of the names in the specification; `extensions` holds members that the specification
does not name, as they came.

Messages are checked where they enter, by `gateway.core.validation`, and nowhere else: to make one is to fill a struct.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias

from msgspec import Meta, Struct, field

from gateway.core.owner import DEFAULT_NAMESPACE, Owner

JsonText: TypeAlias = str
"""The text of one well-formed JSON value, without white space around it."""

Nanoseconds: TypeAlias = int
"""A time: nanoseconds since 1970-01-01T00:00:00Z."""

MAX_KEY_LENGTH = 255
"""Longest idempotency key and flow label, in characters."""

MAX_LABELS = 32
"""The most labels of a run. Names and values have MAX_KEY_LENGTH characters at most."""

MAX_REASON = 1_000
"""Longest reason of a cancel, in characters."""

MAX_TIMEOUT = 315_576_000_000.0
"""Longest timeout, in seconds: 10,000 years, the range of google.protobuf.Duration."""

MIN_HEARTBEAT = 0.1
"""Shortest heartbeat interval, in seconds."""


class RunState(StrEnum):
    """The state of a run or of an item; spelled as in the specification."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    # That of Enum is written in Python, and every look-up in a table of states asks for it.
    __hash__ = str.__hash__

    @property
    def terminal(self) -> bool:
        """Whether this state is the last one: no other state can follow."""
        return self in TERMINAL_STATES


TERMINAL_STATES = frozenset({RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED})


class ResultOrder(StrEnum):
    """The order of results; spelled as in the specification."""

    BY_INDEX = "byIndex"
    BY_COMPLETION = "byCompletion"

    __hash__ = str.__hash__


class BlobType(StrEnum):
    """What a blob holds."""

    FLOW = "flow"
    DATA = "data"


if TYPE_CHECKING:
    Texts: TypeAlias = Sequence[JsonText]
else:
    Texts = Any
"""Texts that nothing checks and nothing copies, since there may be millions. Many are a `PackedTexts`."""

Count = Annotated[int, Meta(ge=0)]

LabelName = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH)]
LabelValue = Annotated[str, Meta(max_length=MAX_KEY_LENGTH)]
Labels = Annotated[dict[LabelName, LabelValue], Meta(max_length=MAX_LABELS)]


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A canonical message: immutable, strictly typed. No message holds itself: the collector need not look at them."""

    extensions: dict[str, JsonText] = field(default_factory=dict)


class ObservabilityContext(Message, frozen=True, kw_only=True):
    """The trace that a call belongs to."""

    trace_id: str | None = None
    span_id: str | None = None
    run_id: str | None = None
    flow_id: str | None = None
    step_id: str | None = None


class SubmitParams(Message, frozen=True, kw_only=True):
    """Parameters of runs/submit. `timeout` and `execution_timeout` are in seconds.

    `owner` is no parameter: it is to whom the run will belong, which the server knows of its caller; None is nobody, in
    the default namespace.
    """

    flow_id: Annotated[str, Meta(min_length=1)]
    inputs: Texts
    wait: bool = False
    max_concurrency: Annotated[int, Meta(ge=1, le=2**32 - 1)] | None = None
    overrides: JsonText | None = None
    observability: ObservabilityContext | None = None
    timeout: Annotated[float, Meta(ge=0, le=MAX_TIMEOUT)] | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH)] | None = None
    variables: dict[str, JsonText] = field(default_factory=dict)
    flow_label: Annotated[str, Meta(max_length=MAX_KEY_LENGTH)] | None = None
    labels: Labels = field(default_factory=dict)
    execution_timeout: Annotated[float, Meta(gt=0, le=MAX_TIMEOUT)] | None = None
    owner: Owner | None = None

    @property
    def namespace(self) -> str:
        """The namespace that the run will be in."""
        return DEFAULT_NAMESPACE if self.owner is None else self.owner.namespace


class GetParams(Message, frozen=True, kw_only=True):
    """Parameters of runs/get. `timeout` and `heartbeat_interval` are in seconds.

    `resume_token` and `heartbeat_interval` count for streams only: the token of the last message that was received, and
    how often at least to send one.
    """

    run_id: Annotated[str, Meta(min_length=1)]
    wait: bool = False
    include_results: bool = False
    result_order: ResultOrder = ResultOrder.BY_INDEX
    observability: ObservabilityContext | None = None
    timeout: Annotated[float, Meta(ge=0, le=MAX_TIMEOUT)] | None = None
    resume_token: bytes = b""
    heartbeat_interval: Annotated[float, Meta(ge=MIN_HEARTBEAT, le=MAX_TIMEOUT)] | None = None


class ItemStatistics(Message, frozen=True, kw_only=True):
    """The number of items in each state."""

    total: Count
    pending: Count = 0
    running: Count = 0
    success: Count = 0
    failed: Count = 0
    cancelled: Count = 0


class ItemError(Message, frozen=True, kw_only=True):
    """Why an item failed."""

    code: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    message: str
    data: JsonText | None = None


class ItemResult(Message, frozen=True, kw_only=True):
    """The result of one item: `value` when it succeeded, `error` when it failed, neither otherwise."""

    item_index: Count
    status: RunState
    value: JsonText | None = None
    error: ItemError | None = None
    completed_at: Nanoseconds | None = None


class RunStatus(Message, frozen=True, kw_only=True):
    """The state of a run. `results` is None when they were not asked for.

    A run that another one submitted has a `parent_run_id`, and a `root_run_id`: the outermost run that it is inside.
    `expires_at` is when it will be deleted, if that is known.
    """

    run_id: str
    flow_id: str
    flow_name: str | None = None
    flow_label: str | None = None
    status: RunState
    items: ItemStatistics
    created_at: Nanoseconds
    completed_at: Nanoseconds | None = None
    results: list[ItemResult] | None = None
    labels: dict[str, str] = field(default_factory=dict)
    parent_run_id: str | None = None
    root_run_id: str | None = None
    depth: Count = 0
    cancel_reason: str | None = None
    started_at: Nanoseconds | None = None
    expires_at: Nanoseconds | None = None
    namespace: str = DEFAULT_NAMESPACE


class Blob(NamedTuple):
    """A blob: the text of a JSON value, or any bytes."""

    content: JsonText | bytes
    type: BlobType


_BLOB_ID = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_CANONICAL_BLOB_ID = re.compile(r"sha256:[0-9a-f]{64}")
_RUN_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_canonical_blob_id(text: str) -> bool:
    """Whether a text is the canonical spelling of a blob id."""
    return _CANONICAL_BLOB_ID.fullmatch(text) is not None


def blob_digest(blob_id: str) -> str | None:
    """The 64 hex digits of a blob id in either spelling, in lower case; None if the text is not a blob id."""
    match = _BLOB_ID.fullmatch(blob_id)
    return match[1].lower() if match else None


def blob_id_of(digest: str) -> str:
    """The canonical spelling of the blob id with these 64 hex digits."""
    return f"sha256:{digest}"


def canonical_run_id(run_id: str) -> str | None:
    """A run id in lower case; None if it is not a UUID."""
    return run_id.lower() if _RUN_ID.fullmatch(run_id) else None
