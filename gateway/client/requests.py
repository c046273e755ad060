"""What the clients ask for: parameters checked, and written as messages that fit."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict, Unpack

from gateway.adapter import proto
from gateway.client.payload import Json, text_of
from gateway.core.model import GetParams, JsonText, ObservabilityContext, ResultOrder, SubmitParams
from gateway.core.validation import validated
from runs.v1 import runs_pb2

MESSAGE_BYTES: Final = 16 << 20
"""Inputs that are longer are submitted in parts."""

PART_BYTES: Final = 1 << 20
"""How long a part may be before the next input begins another one."""

PART_LENGTH: Final = 4_096
"""How many inputs a part holds at most."""


HEARTBEAT_INTERVAL: Final = 10.0
"""How often, in seconds, the gateway shows that an idle stream lives, unless told otherwise."""

HEARTBEATS_PER_SECOND: Final = 10
"""How many heartbeats a stream with many runs may have in all: the more runs, the rarer those of each."""


class SubmitOptions(TypedDict, total=False):
    """What may be said of a run that is submitted."""

    max_concurrency: int | None
    """How many items may execute at the same time; None: the runtime decides."""
    overrides: Mapping[str, Any] | Json | None
    """Changes to the flow's steps for this run: `{"steps": {ID: {"value": PATCH}}}`."""
    variables: Mapping[str, Any] | None
    """Values for the flow's variables, by name."""
    flow_label: str | None
    """A label for this run, at most 255 characters."""
    observability: ObservabilityContext | None
    """The trace that the call belongs to."""
    idempotency_key: str | None
    """The same key with the same parameters gives the same run; None: one is made for the call."""


@dataclass(frozen=True, slots=True)
class RunWatch:
    """A run to follow among many, with options of its own."""

    run_id: str
    include_results: bool = False
    order: ResultOrder = ResultOrder.BY_INDEX
    resume_token: bytes = b""


def submit_params(flow_id: str, inputs: Iterable[object], **options: Unpack[SubmitOptions]) -> SubmitParams:
    """The parameters of a submit, with a key of its own if none is given. InvalidParams names what is wrong."""
    fields: dict[str, object] = {**options, "flow_id": flow_id, "inputs": list(input_texts(inputs))}
    if options.get("idempotency_key") is None:
        fields["idempotency_key"] = str(uuid.uuid4())
    if (overrides := options.get("overrides")) is not None:
        fields["overrides"] = text_of(overrides, "overrides")
    variables = options.get("variables") or {}
    fields["variables"] = {name: text_of(value, "variables", name) for name, value in variables.items()}
    return validated(SubmitParams, fields)


def many_params(
    runs: Iterable[str | RunWatch],
    include_results: bool,
    order: ResultOrder,
    heartbeat_interval: float,
    timeout: float | None,
) -> list[GetParams]:
    """The parameters of following each of many runs; one that is named twice counts once, as it was named last."""
    watches = {}
    for run in runs:
        watch = RunWatch(run, include_results, order) if isinstance(run, str) else run
        watches[watch.run_id] = watch
    interval = max(heartbeat_interval, len(watches) / HEARTBEATS_PER_SECOND)
    return [
        wait_params(
            watch.run_id,
            include_results=watch.include_results,
            order=watch.order,
            heartbeat_interval=interval,
            timeout=timeout,
            resume_token=watch.resume_token,
        )
        for watch in watches.values()
    ]


def wait_params(
    run_id: str,
    *,
    include_results: bool,
    order: ResultOrder,
    heartbeat_interval: float = HEARTBEAT_INTERVAL,
    timeout: float | None = None,
    resume_token: bytes = b"",
) -> GetParams:
    """The parameters of following a run until it has finished."""
    return get_params(
        run_id,
        wait=True,
        include_results=include_results,
        result_order=order,
        heartbeat_interval=heartbeat_interval,
        timeout=timeout,
        resume_token=resume_token,
    )


def get_params(run_id: str, **fields: object) -> GetParams:
    """The parameters of a get. InvalidParams names each field that is wrong."""
    return validated(GetParams, {"run_id": run_id, **fields})


def input_texts(inputs: Iterable[object]) -> Iterator[JsonText]:
    """The text of each input."""
    return (text_of(value, "inputs", index) for index, value in enumerate(inputs))


def fits(params: SubmitParams) -> bool:
    """Whether the inputs go into one message."""
    size = 0
    for text in params.inputs:
        size += _size(text)
        if size > MESSAGE_BYTES:
            return False
    return True


class Parts:
    """Gathers inputs into the messages of a submit in parts."""

    def __init__(self, params: SubmitParams) -> None:
        bare = params.model_copy(update={"inputs": []})
        self._message = runs_pb2.SubmitRunStreamRequest(parameters=proto.submit_params_to_proto(bare))
        self._size = 0

    def add(self, text: JsonText) -> runs_pb2.SubmitRunStreamRequest | None:
        """Add an input; returns a message when one is full."""
        size = _size(text)
        full = self._size and (self._size + size > PART_BYTES or len(self._message.inputs) == PART_LENGTH)
        message = self.rest() if full else None
        self._message.inputs.add().json = text
        self._size += size
        return message

    def rest(self) -> runs_pb2.SubmitRunStreamRequest:
        """The last message: what has been added since the last full one."""
        message, self._message, self._size = self._message, runs_pb2.SubmitRunStreamRequest(), 0
        return message


def in_parts(params: SubmitParams, texts: Iterable[JsonText]) -> Iterator[runs_pb2.SubmitRunStreamRequest]:
    """The messages of a submit in parts."""
    parts = Parts(params)
    for text in texts:
        if (message := parts.add(text)) is not None:
            yield message
    yield parts.rest()


def _size(text: JsonText) -> int:
    return len(text) if text.isascii() else len(text.encode())
