"""Bodies of a Stepflow engine's REST API <-> messages of the gateway. No I/O.

There are two forms. Releases 0.10 and 0.11 write states as words and results as `{outcome, result | error}`; 0.12 and
0.13 write what their protobuf messages are in JSON: states as numbers, results as `output` or `errorMessage` and
`errorCode`, every number as a double. Both are read by the same structures, as no member has two meanings.

Everything that an engine sends is checked here. What cannot be read raises RemoteError.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from gateway.adapter.remote_errors import parse_path
from gateway.adapter.stepflow_numbers import Numbers, restored
from gateway.core.errors import (
    FlowNotFound,
    GatewayError,
    InvalidFlow,
    InvalidParams,
    Path,
    RemoteError,
    TooLarge,
    Violation,
)
from gateway.core.json_text import members, quote
from gateway.core.model import (
    ItemError,
    ItemResult,
    ItemStatistics,
    JsonText,
    Nanoseconds,
    RunState,
    RunStatus,
    SubmitParams,
    blob_digest,
    blob_id_of,
    canonical_run_id,
)
from gateway.core.times import nanoseconds

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

FOREIGN_STATES: Final[dict[int | str, str]] = {
    5: "paused",
    6: "recoveryFailed",
    "paused": "paused",
    "recoveryfailed": "recoveryFailed",
}
"""States of the engine that are not ours. `extensions["status"]` keeps their names."""

UNKNOWN_FAILURE: Final = -32603

ERROR_CODES: Final = {
    1: -32300,
    2: -32103,
    3: -32100,
    4: -32800,
    5: -32300,
    6: -32001,
    7: -32102,
    8: -32200,
    9: -32202,
    10: -32303,
}
"""Error codes of 0.12 and 0.13 as those that 0.11 gave for the same failure: timeout, invalid input, component failed,
cancelled, unreachable, component not found, resource unavailable, expression failure, orchestrator error, worker error.
3, 5, 8 and 9 were compared with 0.11; others follow its component protocol. Any other number is UNKNOWN_FAILURE."""

MAX_MESSAGE: Final = 1_000
"""How much of an engine's error message is passed on, in characters."""

MAX_PATH: Final = 8
"""How many parts of a place in a request are passed on: it may be some hundred levels deep."""

_PLACE: Final = re.compile(
    r"(?:Failed to parse the request body as JSON: )?((?:input|variables|overrides)(?![^.\[:])[^\s:]*): (.*)", re.DOTALL
)
"""How the engine begins a message that tells of a place in a request."""

_COUNTERS: Final = ("total", "completed", "running", "failed", "cancelled")


class _Statistics(msgspec.Struct):
    total: int = 0
    completed: int = 0
    running: int = 0
    failed: int = 0
    cancelled: int = 0


class _Summary(msgspec.Struct, rename="camel"):
    run_id: str
    flow_id: str
    status: int | str
    created_at: str
    items: _Statistics = msgspec.field(default_factory=_Statistics)
    flow_name: str | None = None
    completed_at: str | None = None
    parent_run_id: str | None = None


class _Error(msgspec.Struct):
    code: int
    message: str
    data: Raw | UnsetType = UNSET


class _Outcome(msgspec.Struct):
    outcome: str
    result: Raw | UnsetType = UNSET
    error: _Error | None = None


class _Item(msgspec.Struct, rename="camel"):
    status: int | str
    item_index: int = 0
    completed_at: str | None = None
    result: _Outcome | None = None
    output: Raw | UnsetType = UNSET
    error_message: str | None = None
    error_code: int = 0


class _Run(_Summary):
    """A run in the form of 0.10 and 0.11."""

    results: list[_Item] | None = None


class _ProtoRun(msgspec.Struct):
    summary: _Summary
    results: list[_Item] | None = None


class _Items(msgspec.Struct):
    items: list[_Item] | None = None
    results: list[_Item] | None = None


class _RunList(msgspec.Struct):
    runs: list[_Summary]


class _Health(msgspec.Struct):
    status: str
    version: str | None = None
    build: dict[str, Any] | None = None


class _Failure(msgspec.Struct):
    message: str | None = None
    error: "_Failure | None" = None


class Form(Enum):
    """In which form an engine speaks: that of 0.10 and 0.11, or that of 0.12 and 0.13."""

    WORDS = msgspec.json.Decoder(_Run)
    PROTO = msgspec.json.Decoder(_ProtoRun)

    @property
    def numbers(self) -> Numbers:
        """How runs hold numbers."""
        return Numbers.INTEGERS if self is Form.WORDS else Numbers.DOUBLES


_ITEMS: Final = msgspec.json.Decoder(_Items)
_RUN_LIST: Final = msgspec.json.Decoder(_RunList)
_HEALTH: Final = msgspec.json.Decoder(_Health)
_FAILURE: Final = msgspec.json.Decoder(_Failure)


class Results:
    """The results of a run as they came; each is made a message when it is asked for. `size`: the bytes they take."""

    def __init__(self, items: list[_Item], run: RunStatus, form: Form, size: int) -> None:
        self.size = size
        self._items = sorted(items, key=lambda item: item.item_index)
        self._run = run
        self._form = form
        self._order: list[int] | None = None
        self._places: list[int] | None = None

    @property
    def order(self) -> list[int]:
        """Item indexes in the order of completion: by the time that the engine gives, then by index."""
        if self._order is None:
            times = [_sortable(item.completed_at) for item in self._items]
            self._order = sorted(range(len(times)), key=times.__getitem__)
        return self._order

    @property
    def places(self) -> list[int]:
        """The place of each item in the order of completion."""
        if self._places is None:
            self._places = [0] * len(self.order)
            for place, index in enumerate(self.order):
                self._places[index] = place
        return self._places

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._items)

    def __getitem__(self, index: int) -> ItemResult:
        """The result of an item."""
        return _item_result(self._items[index], self._run, self._form)


class EngineRun(NamedTuple):
    """A run, and its results if it is over and they came with it."""

    status: RunStatus
    results: Results | None


class StoredRun(NamedTuple):
    """An entry of a list of runs."""

    run_id: str
    flow_id: str
    items: int
    created_at: Nanoseconds
    parent_run_id: str | None


def run_request(params: SubmitParams, *, peek: bool) -> bytes:
    """The body that submits a run. With `peek` the engine answers after a moment, with the results if it has them."""
    parts = [f'{{"flowId":"{blob_digest(params.flow_id)}","input":[{",".join(params.inputs)}]']
    if params.overrides is not None and (overrides := _overrides(params.overrides)) is not None:
        parts.append(f'"overrides":{overrides}')
    if params.variables:
        variables = ",".join(f"{quote(name)}:{value}" for name, value in params.variables.items())
        parts.append(f'"variables":{{{variables}}}')
    if params.max_concurrency is not None:
        parts.append(f'"maxConcurrency":{params.max_concurrency}')
    if peek:
        parts.append('"wait":true,"timeoutSecs":0')
    return (",".join(parts) + "}").encode()


def run_from_json(body: bytes, form: Form) -> EngineRun:
    """Read the answer that is one run."""
    if form is Form.WORDS:
        run: _Run = decoded(form.value, body)
        summary: _Summary = run
        items = run.results
    else:
        proto: _ProtoRun = decoded(form.value, body)
        summary, items = proto.summary, proto.results
    status = _run_status(summary)
    if items is None or not status.status.terminal:
        return EngineRun(status, None)
    return EngineRun(status, _results(items, status, form, len(body)))


def results_from_json(body: bytes, run: RunStatus, form: Form) -> Results:
    """Read the answer that is the results of a run, which is over."""
    answer: _Items = decoded(_ITEMS, body)
    return _results(answer.items or answer.results or [], run, form, len(body))


def runs_from_json(body: bytes) -> list[StoredRun]:
    """Read a list of runs."""
    answer: _RunList = decoded(_RUN_LIST, body)
    return [
        StoredRun(
            _run_id(entry.run_id),
            engine_blob_id(entry.flow_id),
            entry.items.total,
            _time(entry.created_at),
            entry.parent_run_id,
        )
        for entry in answer.runs
    ]


def submit_failure(status: int, body: bytes, flow_id: str) -> GatewayError:
    """The error for an answer that is no run."""
    message = message_of(body)
    if status == 404:
        return FlowNotFound(f"no flow has the id '{flow_id}'")
    if status in (400, 422) and (place := _PLACE.match(message)) is not None:
        return InvalidParams([Violation(_params_path(place[1]), place[2])])
    if status == 400 and "overrides" in message:
        return InvalidParams.field("overrides", description=message)
    if (status == 400 and "analyzing workflow" in message) or (status == 500 and "Serialization error" in message):
        return InvalidFlow([Violation(("flow_id",), "the engine cannot run this flow: store it again to learn why")])
    if status in (400, 422):
        return InvalidParams([Violation((), f"the engine refuses the run: {message}")])
    return failure(status, body)


def failure(status: int, body: bytes) -> GatewayError:
    """The error for an answer that nothing is expected to bring about."""
    if status == 413:
        return too_large()
    message = message_of(body)
    return RemoteError(
        RemoteError.code, f"the engine has answered with HTTP status {status}" + f": {message}" * bool(message)
    )


def release_from_health(status: int, body: bytes) -> str | None:
    """The release that an engine says it is of; "" if it does not say, as 0.12 and 0.13 do not. None: no engine."""
    try:
        health: _Health = _HEALTH.decode(body) if status == 200 else _Health("")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if health.status != "healthy":
        return None
    if health.build is not None and not health.version:
        return ""
    return health.version or None


def _params_path(text: str) -> Path:
    """The path of a place in a request, cut short if it is deep."""
    path = parse_path(text.replace("input", "inputs", 1) if text.startswith("input") else text)
    return path[:MAX_PATH]


def _overrides(text: JsonText) -> JsonText | None:
    """The level `steps` may be left out, as in 0.9."""
    if text == "null":
        return None
    given = members(text, "overrides")
    if not given:
        return None
    return text if "steps" in given else f'{{"steps":{text}}}'


def _run_status(summary: _Summary) -> RunStatus:
    state, extensions = _state(summary.status)
    items = summary.items
    if any(not 0 <= getattr(items, name) < 2**63 for name in _COUNTERS):
        raise _unreadable("a count of items")
    finished = items.completed + items.failed + items.cancelled
    running, cancelled = items.running, items.cancelled
    pending = max(0, items.total - finished - running)
    if state.terminal:
        # A run that is cancelled leaves its items as they are.
        running, pending, cancelled = 0, 0, max(cancelled, items.total - items.completed - items.failed)
    statistics = ItemStatistics(
        total=items.total,
        pending=pending,
        running=running,
        success=items.completed,
        failed=items.failed,
        cancelled=cancelled,
    )
    return RunStatus(
        run_id=_run_id(summary.run_id),
        flow_id=engine_blob_id(summary.flow_id),
        flow_name=summary.flow_name,
        status=state,
        items=statistics,
        created_at=_time(summary.created_at),
        completed_at=None if summary.completed_at is None else _time(summary.completed_at),
        extensions=extensions,
    )


def _results(items: Sequence[_Item], run: RunStatus, form: Form, size: int) -> Results:
    if len(items) != run.items.total or {item.item_index for item in items} != set(range(len(items))):
        raise _unreadable("results that are not those of the items")
    return Results(list(items), run, form, size)


def _item_result(item: _Item, run: RunStatus, form: Form) -> ItemResult:
    state, extensions = _state(item.status)
    value = error = None
    if state is RunState.SUCCESS:
        value = _value(item, form)
    elif state is RunState.FAILED:
        error = _item_error(item)
    elif not state.terminal:
        state = RunState.CANCELLED
    completed_at = run.completed_at if item.completed_at is None else _time(item.completed_at)
    return ItemResult(
        item_index=item.item_index,
        status=state,
        value=value,
        error=error,
        completed_at=completed_at,
        extensions=extensions,
    )


def _value(item: _Item, form: Form) -> JsonText:
    raw = item.result.result if item.result is not None else item.output
    text = "null" if isinstance(raw, UnsetType) else str(raw, "utf-8")
    return restored(text) if form is Form.PROTO else text


def _item_error(item: _Item) -> ItemError:
    error = item.result.error if item.result is not None else None
    if error is None:
        code = ERROR_CODES.get(item.error_code, UNKNOWN_FAILURE)
        return ItemError(code=code, message=item.error_message or "the engine does not say why")
    if not -(2**63) <= error.code < 2**63:
        raise _unreadable("an error code")
    data = None if isinstance(error.data, UnsetType) else _without_stack(str(error.data, "utf-8"))
    return ItemError(code=error.code, message=error.message, data=data)


def _without_stack(data: JsonText) -> JsonText | None:
    """The data of an error without the engine's own stack, which tells of its insides."""
    given = members(data) if data.startswith("{") else {}
    if not given.get("stack", "").startswith('[{"error":'):
        return None if data == "null" else data
    del given["stack"]
    return "{" + ",".join(f"{quote(name)}:{value}" for name, value in given.items()) + "}" if given else None


def _state(spelling: int | str) -> tuple[RunState, dict[str, JsonText]]:
    key = spelling.lower() if isinstance(spelling, str) else spelling
    state = STATES.get(key)
    if state is None:
        raise _unreadable("a state")
    foreign = FOREIGN_STATES.get(key)
    return state, {} if foreign is None else {"status": quote(foreign)}


def _run_id(text: str) -> str:
    run_id = canonical_run_id(text)
    if run_id is None:
        raise _unreadable("a run id")
    return run_id


def engine_blob_id(text: str) -> str:
    digest = blob_digest(text)
    if digest is None:
        raise _unreadable("a blob id")
    return blob_id_of(digest)


def _time(text: str) -> Nanoseconds:
    try:
        return nanoseconds(text)
    except InvalidParams:
        raise _unreadable("a time") from None


def _sortable(time: str | None) -> tuple[bool, str]:
    """Sorts as the time does. Items that have none come last."""
    if time is None:
        return True, ""
    if time.endswith("Z"):
        return False, time[:-1]
    try:
        return False, datetime.fromisoformat(time).isoformat()
    except ValueError:
        raise _unreadable("a time") from None


def message_of(body: bytes) -> str:
    """What the engine says is wrong: its message, without the stack that may come along."""
    try:
        found: _Failure = _FAILURE.decode(body)
        text = (found.error or found).message or ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Some errors are plain text. A page of a proxy is not worth repeating.
        text = "" if body.lstrip().startswith(b"<") else body.decode(errors="replace")
    text = "".join(character if character.isprintable() else " " for character in text[:MAX_MESSAGE])
    return text.removeprefix("Failed to deserialize the JSON body into the target type: ").strip()


def decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unreadable("something else than was asked for") from None


def _unreadable(what: str) -> RemoteError:
    """The error for a body that is not the client's fault."""
    return RemoteError(RemoteError.code, f"the engine has sent what cannot be read: {what}")


def too_large() -> TooLarge:
    return TooLarge("the message is larger than the engine takes; releases 0.10 and 0.11 take 2 MB")
