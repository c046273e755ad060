"""The two formats of a Stepflow engine's REST API: the structure of its bodies, and the spelling of their values.

Releases 0.10 and 0.11 write states as words and results as `{outcome, result | error}`. Releases 0.12 and 0.13 write
the JSON form of their protobuf messages: states as numbers, results as `output` or `errorMessage` and `errorCode`, and
every number as a double. The same structures read both, as no member has two meanings.

All values that an engine sends are checked; the functions raise RemoteError if one is not as it should be.
"""

from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from gateway.adapter.stepflow_numbers import Numbers
from gateway.core.errors import InvalidParams
from gateway.core.json_text import quote
from gateway.core.model import JsonText, Nanoseconds, RunState, blob_digest, blob_id_of, canonical_run_id
from gateway.core.times import nanoseconds
from gateway.runtimes.stepflow.engine_errors import unexpected_response

STATES: Final[dict[int | str, RunState]] = {
    1: RunState.RUNNING,
    2: RunState.SUCCESS,
    3: RunState.FAILED,
    4: RunState.CANCELLED,
    5: RunState.RUNNING,
    6: RunState.FAILED,
    "running": RunState.RUNNING,
    "completed": RunState.SUCCESS,
    "failed": RunState.FAILED,
    "cancelled": RunState.CANCELLED,
    "paused": RunState.RUNNING,
    "recoveryfailed": RunState.FAILED,
}
"""States of runs and items: the numbers of 0.12 and 0.13, the words of 0.10 and 0.11, in lower case. The engine has no
pending state: an item that has not begun is running."""

ENGINE_ONLY_STATES: Final[dict[int | str, str]] = {
    5: "paused",
    6: "recoveryFailed",
    "paused": "paused",
    "recoveryfailed": "recoveryFailed",
}
"""States of the engine that the gateway does not have. `extensions["status"]` keeps their names."""


class WireFormat(Enum):
    """The format in which an engine writes its bodies."""

    LEGACY = "0.10 and 0.11"
    PROTO_JSON = "0.12 and 0.13"

    @property
    def numbers(self) -> Numbers:
        """How runs hold numbers."""
        return Numbers.INTEGERS if self is WireFormat.LEGACY else Numbers.DOUBLES

    @property
    def running(self) -> str:
        """How the query of a list spells the state of runs that execute."""
        return "running" if self is WireFormat.LEGACY else "1"

    @property
    def cancelled(self) -> str:
        """How it spells that of runs that were cancelled."""
        return "cancelled" if self is WireFormat.LEGACY else "4"


class CountsBody(msgspec.Struct):
    """How many items of a run are in which state."""

    total: int = 0
    completed: int = 0
    running: int = 0
    failed: int = 0
    cancelled: int = 0


class SummaryBody(msgspec.Struct, rename="camel"):
    """A run without its results."""

    run_id: str
    flow_id: str
    status: int | str
    created_at: str
    items: CountsBody = msgspec.field(default_factory=CountsBody)
    flow_name: str | None = None
    completed_at: str | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None


class ErrorBody(msgspec.Struct):
    """The error of an item, in the legacy format."""

    code: int
    message: str
    data: Raw | UnsetType = UNSET


class OutcomeBody(msgspec.Struct):
    """The result of an item, in the legacy format."""

    outcome: str
    result: Raw | UnsetType = UNSET
    error: ErrorBody | None = None


class ItemBody(msgspec.Struct, rename="camel"):
    """An item of a run. `result` is there in the legacy format, the members after it in the other one."""

    status: int | str
    item_index: int = 0
    completed_at: str | None = None
    result: OutcomeBody | None = None
    output: Raw | UnsetType = UNSET
    error_message: str | None = None
    error_code: int = 0


class DetailStepBody(msgspec.Struct, rename="camel"):
    """A step of an item in the details of a run, in the legacy format. Those that have not ended are left out."""

    step_id: str
    status: str


class DetailBody(msgspec.Struct, rename="camel"):
    """An item in the details of a run, in the legacy format."""

    status: int | str
    item_index: int = 0
    input: Raw | UnsetType = UNSET
    steps: list[DetailStepBody] = []


class StepBody(msgspec.Struct, rename="camel"):
    """A step of an item, in the other format."""

    step_id: str
    status: int
    item_index: int = 0
    component: str = ""
    error_message: str | None = None
    error_code: int = 0
    updated_at: str | None = None


class _LegacyRunBody(SummaryBody):
    results: list[ItemBody] | None = None


class _DetailsBody(msgspec.Struct, rename="camel"):
    item_details: list[DetailBody] | None = None


class _StepsBody(msgspec.Struct):
    steps: list[StepBody]


class _ComponentBody(msgspec.Struct, rename="camel"):
    step_id: str
    component: str = ""


class _ComponentsBody(msgspec.Struct):
    steps: dict[str, _ComponentBody]


class _ProtoRunBody(msgspec.Struct):
    summary: SummaryBody
    results: list[ItemBody] | None = None


class _ItemsBody(msgspec.Struct):
    items: list[ItemBody] | None = None
    results: list[ItemBody] | None = None


class _RunListBody(msgspec.Struct):
    runs: list[SummaryBody]


_LEGACY_RUN: Final = msgspec.json.Decoder(_LegacyRunBody)
_PROTO_RUN: Final = msgspec.json.Decoder(_ProtoRunBody)
_ITEMS: Final = msgspec.json.Decoder(_ItemsBody)
_RUN_LIST: Final = msgspec.json.Decoder(_RunListBody)
_DETAILS: Final = msgspec.json.Decoder(_DetailsBody)
_STEPS: Final = msgspec.json.Decoder(_StepsBody)
_COMPONENTS: Final = msgspec.json.Decoder(_ComponentsBody)


def decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """Decode a body. Raises RemoteError if it does not have the structure of the decoder's type."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unexpected_response() from None


def decode_run(body: bytes, wire_format: WireFormat) -> tuple[SummaryBody, list[ItemBody] | None]:
    """Decode a run, and its results if they came with it."""
    if wire_format is WireFormat.LEGACY:
        run: _LegacyRunBody = decode(_LEGACY_RUN, body)
        return run, run.results
    proto_run: _ProtoRunBody = decode(_PROTO_RUN, body)
    return proto_run.summary, proto_run.results


def decode_items(body: bytes) -> list[ItemBody]:
    """Decode the results of a run."""
    answer: _ItemsBody = decode(_ITEMS, body)
    return answer.items or answer.results or []


def decode_details(body: bytes) -> list[DetailBody]:
    """Decode the details of the items of a run, in the legacy format."""
    answer: _DetailsBody = decode(_DETAILS, body)
    return answer.item_details or []


def decode_steps(body: bytes) -> list[StepBody]:
    """Decode the steps of all items of a run that have begun, in the other format."""
    answer: _StepsBody = decode(_STEPS, body)
    return answer.steps


def decode_components(body: bytes) -> dict[str, str]:
    """Decode which component each step of a flow calls, in the legacy format."""
    answer: _ComponentsBody = decode(_COMPONENTS, body)
    return {step.step_id: step.component for step in answer.steps.values()}


def decode_run_list(body: bytes) -> list[SummaryBody]:
    """Decode a list of runs."""
    answer: _RunListBody = decode(_RUN_LIST, body)
    return answer.runs


def read_state(spelling: int | str) -> tuple[RunState, dict[str, JsonText]]:
    """Return a state, and the extensions that name it if the gateway does not have it."""
    key = spelling.lower() if isinstance(spelling, str) else spelling
    state = STATES.get(key)
    if state is None:
        raise unexpected_response("an unknown state")
    foreign = ENGINE_ONLY_STATES.get(key)
    return state, {} if foreign is None else {"status": quote(foreign)}


def read_run_id(text: str) -> str:
    """Return the id of a run."""
    run_id = canonical_run_id(text)
    if run_id is None:
        raise unexpected_response("a run id that is not a UUID")
    return run_id


def read_blob_id(text: str) -> str:
    """Return the gateway's id of a blob, which begins with `sha256:`, for the engine's."""
    digest = blob_digest(text)
    if digest is None:
        raise unexpected_response("a blob id that is not a SHA-256 digest")
    return blob_id_of(digest)


def read_time(text: str) -> Nanoseconds:
    """Return a time."""
    try:
        return nanoseconds(text)
    except InvalidParams:
        raise unexpected_response("an invalid time") from None
