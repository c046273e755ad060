"""The values that the clients return: the status of a run, its results, and its updates.

Fields that end in `_json` hold the exact text of a JSON value. Those that end in `_ns` hold times in nanoseconds since
1970, in UTC. The properties without the ending return the same as Python values. `extensions` holds, as JSON text by
name, the members of the JSON object that the specification does not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from gateway.adapter import status_proto
from gateway.adapter.status_to_json import run_status_to_canonical_json
from gateway.client.payload import value_of
from gateway.core import model
from gateway.core.model import ItemStatistics, JsonText, Nanoseconds, RunState
from gateway.core.owner import DEFAULT_NAMESPACE
from runs.v1 import runs_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ItemError:
    """The error of an item that failed, from its component or from the gateway."""

    code: int
    message: str
    data_json: JsonText | None = None
    extensions: Mapping[str, JsonText] = field(default_factory=dict, repr=False)

    @cached_property
    def data(self) -> Any:
        """The details that the component sent, as a Python value; None if it sent none."""
        return None if self.data_json is None else value_of(self.data_json)


@dataclass(frozen=True)
class ItemResult:
    """The result of one item: with a value if `status` is SUCCESS, an error if FAILED, and neither if CANCELLED."""

    item_index: int
    """The position of the item's input, from 0."""
    status: RunState
    value_json: JsonText | None = None
    error: ItemError | None = None
    completed_at_ns: Nanoseconds | None = None
    extensions: Mapping[str, JsonText] = field(default_factory=dict, repr=False)

    @cached_property
    def value(self) -> Any:
        """The value as a Python value, parsed at the first access; None if there is no value, and for a null."""
        return None if self.value_json is None else value_of(self.value_json)

    @property
    def completed_at(self) -> datetime | None:
        """The time at which the item finished, to the microsecond, in UTC; None if it is not known."""
        return moment(self.completed_at_ns)


@dataclass(frozen=True)
class RunStatus:
    """The status of a run, with the members of the answer to `runs/get`."""

    run_id: str
    flow_id: str
    status: RunState
    items: ItemStatistics
    """The number of items in each state."""
    created_at_ns: Nanoseconds
    completed_at_ns: Nanoseconds | None = None
    flow_name: str | None = None
    """The name in the flow."""
    flow_label: str | None = None
    """The label given at submit."""
    results: list[ItemResult] | None = None
    """The results of finished items; None if they were not asked for."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The labels given at submit."""
    parent_run_id: str | None = None
    """The run that submitted this one."""
    root_run_id: str | None = None
    """The outermost run that this one is inside."""
    depth: int = 0
    """How many runs this one is inside."""
    cancel_reason: str | None = None
    """Why the run was cancelled."""
    started_at_ns: Nanoseconds | None = None
    expires_at_ns: Nanoseconds | None = None
    namespace: str = DEFAULT_NAMESPACE
    """The namespace that it is in."""
    extensions: Mapping[str, JsonText] = field(default_factory=dict, repr=False)

    @property
    def finished(self) -> bool:
        """Whether the run has finished: its status is final."""
        return self.status.terminal

    @property
    def created_at(self) -> datetime:
        """The time at which the run was accepted, to the microsecond, in UTC."""
        return _EPOCH + timedelta(microseconds=self.created_at_ns // 1000)

    @property
    def completed_at(self) -> datetime | None:
        """The time at which the run finished, to the microsecond, in UTC; None before."""
        return moment(self.completed_at_ns)

    @property
    def started_at(self) -> datetime | None:
        """The time at which the first item began to execute, to the microsecond, in UTC; None before."""
        return moment(self.started_at_ns)

    @property
    def expires_at(self) -> datetime | None:
        """The time at which the gateway will delete the run, to the microsecond, in UTC; None if that is not known."""
        return moment(self.expires_at_ns)

    def to_json(self) -> str:
        """Return the JSON object of the specification as text, with each payload exactly as it was received."""
        return run_status_to_canonical_json(_message(self))


@dataclass(frozen=True)
class RunUpdate:
    """A change of a run that is watched."""

    run: RunStatus
    """The whole status. Its `results` are those that no earlier update had."""
    revision: int
    """A number that grows with each change of the run."""
    resume_token: bytes = field(repr=False)
    """The point after this update: a watch with this token continues from here, also in another process."""
    restarted: bool = False
    """The gateway did not accept the resume token: results start from the beginning again."""
    reconnected: bool = False
    """The connection was lost before this update, and was made again."""

    @property
    def results(self) -> list[ItemResult]:
        """The results that no earlier update had; empty if results were not asked for."""
        return self.run.results or []


@dataclass(frozen=True)
class RunEnded:
    """The event after the last update of a run among many."""


def run_status(message: model.RunStatus) -> RunStatus:
    """Return the status of a run from the canonical message."""
    return RunStatus(
        run_id=message.run_id,
        flow_id=message.flow_id,
        status=message.status,
        items=message.items,
        created_at_ns=message.created_at,
        completed_at_ns=message.completed_at,
        flow_name=message.flow_name,
        flow_label=message.flow_label,
        results=None if message.results is None else [item_result(result) for result in message.results],
        labels=message.labels,
        parent_run_id=message.parent_run_id,
        root_run_id=message.root_run_id,
        depth=message.depth,
        cancel_reason=message.cancel_reason,
        started_at_ns=message.started_at,
        expires_at_ns=message.expires_at,
        namespace=message.namespace,
        extensions=message.extensions,
    )


def answered(response: runs_pb2.SubmitRunResponse | runs_pb2.CancelRunResponse) -> RunStatus:
    """Return the status of a run from the answer to its submit, or to its cancel."""
    return run_status(status_proto.run_status_from_proto(response.run, with_results=False))


def item_result(message: model.ItemResult) -> ItemResult:
    """Return the result of an item from the canonical message."""
    return ItemResult(
        item_index=message.item_index,
        status=message.status,
        value_json=message.value,
        error=None if message.error is None else item_error(message.error),
        completed_at_ns=message.completed_at,
        extensions=message.extensions,
    )


def item_error(message: model.ItemError) -> ItemError:
    """Return the error of an item or a step from the canonical message."""
    return ItemError(message.code, message.message, message.data, message.extensions)


def _message(status: RunStatus) -> model.RunStatus:
    return model.RunStatus(
        run_id=status.run_id,
        flow_id=status.flow_id,
        flow_name=status.flow_name,
        flow_label=status.flow_label,
        status=status.status,
        items=status.items,
        created_at=status.created_at_ns,
        completed_at=status.completed_at_ns,
        results=None if status.results is None else [result_message(result) for result in status.results],
        labels=dict(status.labels),
        parent_run_id=status.parent_run_id,
        root_run_id=status.root_run_id,
        depth=status.depth,
        cancel_reason=status.cancel_reason,
        started_at=status.started_at_ns,
        expires_at=status.expires_at_ns,
        namespace=status.namespace,
        extensions=dict(status.extensions),
    )


def result_message(result: ItemResult) -> model.ItemResult:
    """Return the canonical message of a result."""
    return model.ItemResult(
        item_index=result.item_index,
        status=result.status,
        value=result.value_json,
        error=None if result.error is None else error_message(result.error),
        completed_at=result.completed_at_ns,
        extensions=dict(result.extensions),
    )


def error_message(error: ItemError) -> model.ItemError:
    """Return the canonical message of an error."""
    return model.ItemError(
        code=error.code, message=error.message, data=error.data_json, extensions=dict(error.extensions)
    )


def moment(time: Nanoseconds | None) -> datetime | None:
    """Return a time to the microsecond, in UTC; None for None."""
    return None if time is None else _EPOCH + timedelta(microseconds=time // 1000)
