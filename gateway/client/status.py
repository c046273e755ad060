"""What the clients return: the state of a run, its results, and its updates.

Fields that end in `_json` hold the exact text of a JSON value, and those that end in `_ns` exact times; the properties
without the ending give the same as Python values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from gateway.adapter import proto
from gateway.adapter.runs_json import run_status_to_canonical_json
from gateway.client.payload import value_of
from gateway.core import model
from gateway.core.model import ItemStatistics, JsonText, Nanoseconds, RunState
from runs.v1 import runs_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ItemError:
    """Why an item failed: the code and the message of the component, or of the gateway."""

    code: int
    message: str
    data_json: JsonText | None = None
    extensions: Mapping[str, JsonText] = field(default_factory=dict, repr=False)

    @cached_property
    def data(self) -> Any:
        """More about it, as the component sent it; None if there is none."""
        return None if self.data_json is None else value_of(self.data_json)


@dataclass(frozen=True)
class ItemResult:
    """What came of one item: a value when `status` is SUCCESS, an error when it is FAILED, neither when CANCELLED."""

    item_index: int
    """The position of the item's input, from 0."""
    status: RunState
    value_json: JsonText | None = None
    error: ItemError | None = None
    completed_at_ns: Nanoseconds | None = None
    extensions: Mapping[str, JsonText] = field(default_factory=dict, repr=False)

    @cached_property
    def value(self) -> Any:
        """The value, parsed when it is first asked for; None also if there is none."""
        return None if self.value_json is None else value_of(self.value_json)

    @property
    def completed_at(self) -> datetime | None:
        """When the item finished, to the microsecond, in UTC."""
        return _moment(self.completed_at_ns)


@dataclass(frozen=True)
class RunStatus:
    """The state of a run, as `runs/get` answers it."""

    run_id: str
    flow_id: str
    status: RunState
    items: ItemStatistics
    """How many items are in which state."""
    created_at_ns: Nanoseconds
    completed_at_ns: Nanoseconds | None = None
    flow_name: str | None = None
    """The name that the flow gives itself."""
    flow_label: str | None = None
    """The label given at submit."""
    results: list[ItemResult] | None = None
    """The results of finished items; None if they were not asked for."""
    extensions: Mapping[str, JsonText] = field(default_factory=dict, repr=False)

    @property
    def finished(self) -> bool:
        """Whether nothing can follow this state."""
        return self.status.terminal

    @property
    def created_at(self) -> datetime:
        """When the run was accepted, to the microsecond, in UTC."""
        return _EPOCH + timedelta(microseconds=self.created_at_ns // 1000)

    @property
    def completed_at(self) -> datetime | None:
        """When the run finished, to the microsecond, in UTC; None before."""
        return _moment(self.completed_at_ns)

    def to_json(self) -> str:
        """The text of the JSON object that the specification describes, every payload exactly as it came."""
        return run_status_to_canonical_json(_message(self))


@dataclass(frozen=True)
class RunUpdate:
    """A state of a run that is followed."""

    run: RunStatus
    """The whole state. Its `results` are those that have not been given before."""
    revision: int
    """Grows with each change of the run."""
    resume_token: bytes = field(repr=False)
    """Names the point after this update: a watch with this token goes on here, also in another process."""
    restarted: bool = False
    """The token that the watch went on with was not understood: results start from the beginning once more."""
    reconnected: bool = False
    """The connection was lost before this update, and has been made again."""

    @property
    def results(self) -> list[ItemResult]:
        """The results that have not been given before."""
        return self.run.results or []


@dataclass(frozen=True)
class RunEnded:
    """A run is followed no more: its last update has been given."""


def run_status(message: model.RunStatus) -> RunStatus:
    """The state of a run, from the canonical message."""
    return RunStatus(
        run_id=message.run_id,
        flow_id=message.flow_id,
        status=message.status,
        items=message.items,
        created_at_ns=message.created_at,
        completed_at_ns=message.completed_at,
        flow_name=message.flow_name,
        flow_label=message.flow_label,
        results=None if message.results is None else [_item_result(result) for result in message.results],
        extensions=message.extensions,
    )


def submitted(response: runs_pb2.SubmitRunResponse) -> RunStatus:
    """The state of a run that has been submitted."""
    return run_status(proto.run_status_from_proto(response.run, with_results=False))


def _item_result(message: model.ItemResult) -> ItemResult:
    error = message.error
    return ItemResult(
        item_index=message.item_index,
        status=message.status,
        value_json=message.value,
        error=None if error is None else ItemError(error.code, error.message, error.data, error.extensions),
        completed_at_ns=message.completed_at,
        extensions=message.extensions,
    )


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
        results=None if status.results is None else [_result_message(result) for result in status.results],
        extensions=dict(status.extensions),
    )


def _result_message(result: ItemResult) -> model.ItemResult:
    return model.ItemResult(
        item_index=result.item_index,
        status=result.status,
        value=result.value_json,
        error=None if result.error is None else _error_message(result.error),
        completed_at=result.completed_at_ns,
        extensions=dict(result.extensions),
    )


def _error_message(error: ItemError) -> model.ItemError:
    return model.ItemError(
        code=error.code, message=error.message, data=error.data_json, extensions=dict(error.extensions)
    )


def _moment(time: Nanoseconds | None) -> datetime | None:
    return None if time is None else _EPOCH + timedelta(microseconds=time // 1000)
