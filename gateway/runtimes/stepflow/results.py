"""The results of an engine's run: checked as a whole when they come, each converted when it is asked for. No I/O."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import UnsetType

from gateway.adapter.stepflow_numbers import restore_integers
from gateway.core.json_text import members, quote
from gateway.core.model import ItemError, ItemResult, JsonText, RunState, RunStatus
from gateway.runtimes.stepflow.engine_errors import unexpected_response
from gateway.runtimes.stepflow.wire_format import ItemBody, WireFormat, decode_items, read_state, read_time

UNKNOWN_FAILURE: Final = -32603

_CANCELLED: Final = 4
_CANCELLED_BYTES: Final = 160
"""The state of an item that was cancelled, and about how much memory it takes."""

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


class Results:
    """The results of a run that is over, in the order of item indexes. `size` is how many bytes they take."""

    def __init__(self, items: Sequence[ItemBody], run: RunStatus, wire_format: WireFormat, size: int) -> None:
        """Raises RemoteError if there is not one result for each item of the run."""
        if len(items) != run.items.total or {item.item_index for item in items} != set(range(len(items))):
            raise unexpected_response("results that do not match the items")
        self.size = size
        self._items = sorted(items, key=lambda item: item.item_index)
        self._run = run
        self._wire_format = wire_format
        self._completion_order: list[int] | None = None
        self._completion_offsets: list[int] | None = None

    @property
    def completion_order(self) -> list[int]:
        """Item indexes in the order of completion: by the time that the engine gives, then by index."""
        if self._completion_order is None:
            times = [_sortable(item.completed_at) for item in self._items]
            self._completion_order = sorted(range(len(times)), key=times.__getitem__)
        return self._completion_order

    @property
    def completion_offsets(self) -> list[int]:
        """The offset of each item in the order of completion."""
        if self._completion_offsets is None:
            self._completion_offsets = [0] * len(self.completion_order)
            for offset, index in enumerate(self.completion_order):
                self._completion_offsets[index] = offset
        return self._completion_offsets

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._items)

    def __getitem__(self, index: int) -> ItemResult:
        """The result of an item. Raises RemoteError if it cannot be read."""
        return _item_result(self._items[index], self._run, self._wire_format)


def results_from_json(body: bytes, run: RunStatus, wire_format: WireFormat) -> Results:
    """Read the results of a run that is over. Raises RemoteError if they are not as they should be."""
    return Results(decode_items(body), run, wire_format, len(body))


def cancelled_results(run: RunStatus, wire_format: WireFormat) -> Results:
    """The results of a run that was cancelled before any of its items had ended."""
    items = [ItemBody(status=_CANCELLED, item_index=index) for index in range(run.items.total)]
    return Results(items, run, wire_format, _CANCELLED_BYTES * len(items))


def _item_result(item: ItemBody, run: RunStatus, wire_format: WireFormat) -> ItemResult:
    state, extensions = read_state(item.status)
    value = error = None
    if state is RunState.SUCCESS:
        value = _value(item, wire_format)
    elif state is RunState.FAILED:
        error = _item_error(item)
    elif not state.terminal:
        state = RunState.CANCELLED
    completed_at = run.completed_at if item.completed_at is None else read_time(item.completed_at)
    return ItemResult(
        item_index=item.item_index,
        status=state,
        value=value,
        error=error,
        completed_at=completed_at,
        extensions=extensions,
    )


def _value(item: ItemBody, wire_format: WireFormat) -> JsonText:
    raw = item.result.result if item.result is not None else item.output
    text = "null" if isinstance(raw, UnsetType) else str(raw, "utf-8")
    return restore_integers(text) if wire_format is WireFormat.PROTO_JSON else text


def _item_error(item: ItemBody) -> ItemError:
    error = item.result.error if item.result is not None else None
    if error is None:
        code = ERROR_CODES.get(item.error_code, UNKNOWN_FAILURE)
        return ItemError(code=code, message=item.error_message or "the engine does not say why")
    if not -(2**63) <= error.code < 2**63:
        raise unexpected_response("an error code that is out of range")
    data = None if isinstance(error.data, UnsetType) else _without_stack(str(error.data, "utf-8"))
    return ItemError(code=error.code, message=error.message, data=data)


def _without_stack(data: JsonText) -> JsonText | None:
    """Return the data of an error without the engine's stack trace, which shows its internals."""
    given = members(data) if data.startswith("{") else {}
    if not given.get("stack", "").startswith('[{"error":'):
        return None if data == "null" else data
    del given["stack"]
    return "{" + ",".join(f"{quote(name)}:{value}" for name, value in given.items()) + "}" if given else None


def _sortable(time: str | None) -> tuple[bool, str]:
    """Return a key that sorts as the time does. Items without a time come last."""
    if time is None:
        return True, ""
    if time.endswith("Z"):
        return False, time[:-1]
    try:
        return False, datetime.fromisoformat(time).isoformat()
    except ValueError:
        raise unexpected_response("an invalid time") from None
