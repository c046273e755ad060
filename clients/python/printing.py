"""What the program prints: JSON whose members have one order, with payloads as the texts that they are."""

import json
import re
from collections.abc import Iterable, Sequence

from gateway.client import GatewayError, ItemError, ItemResult, RunStatus


def members(**texts: str) -> str:
    """Return an object of members whose values are JSON text."""
    return "{" + ",".join(f"{text(name)}:{value}" for name, value in texts.items()) + "}"


def text(value: object) -> str:
    """Return a value as compact JSON; only what has to be is escaped in strings."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def array(texts: Iterable[str]) -> str:
    """Return an array of JSON texts."""
    return "[" + ",".join(texts) + "]"


def state(run: RunStatus) -> dict[str, str]:
    """Return the members that tell how far a run is."""
    items = run.items
    shown = {"status": run.status.value, "total": items.total, "success": items.success, "failed": items.failed}
    told = {**shown, "cancelled": items.cancelled}
    if run.cancel_reason is not None:
        told["cancelReason"] = run.cancel_reason
    return {name: text(value) for name, value in told.items()}


def results(given: Sequence[ItemResult]) -> str:
    """Return an array of results."""
    return array(map(_result, given))


def summary(given: Sequence[ItemResult]) -> str:
    """Return what can be told of many results in short: whether each came once, in order, and how long they are."""
    in_order = all(result.item_index == place for place, result in enumerate(given))
    size = sum(len((result.value_json or "").encode()) for result in given)
    return members(count=text(len(given)), inOrder=text(in_order), bytes=text(size))


def folded(run: RunStatus) -> str:
    """Return the end of a run with its results."""
    return members(status=text(run.status.value), results=results(run.results or ()))


def failure(error: GatewayError) -> str:
    """Return an object with an error."""
    violations = getattr(error, "violations", ())
    fields = [{"field": field, "description": description} for field, description in map(_violation, violations)]
    shown = {"code": error.grpc_status, "reason": error.reason, "violations": fields}
    return members(error=text(shown))


def _violation(violation: object) -> tuple[str, str]:
    field, _, description = str(violation).partition(": ")
    return _member_of_message(field), description


def _member_of_message(field: str) -> str:
    """The library checks JSON texts before it sends them, and names what its caller has passed."""
    if field == "flow":
        return "json"
    return f"{field}.json" if re.fullmatch(r"inputs\[\d+\]", field) else field


def _result(result: ItemResult) -> str:
    told = {"itemIndex": text(result.item_index), "status": text(result.status.value)}
    if result.error is not None:
        told["error"] = _error(result.error)
    elif result.value_json is not None:
        told["value"] = result.value_json
    return members(**told)


def _error(error: ItemError) -> str:
    told = {"code": text(error.code), "message": text(error.message)}
    if error.data_json is not None:
        told["data"] = error.data_json
    return members(**told)
