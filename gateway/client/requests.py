"""The requests of the clients: checked parameters, in messages of a limited size."""

import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict, Unpack

from gateway.adapter import proto
from gateway.client.payload import Json, text_of
from gateway.core.model import GetParams, JsonText, ObservabilityContext, ResultOrder, SubmitParams
from gateway.core.validation import validated
from runs.v1 import runs_pb2

MESSAGE_BYTES: Final = 16 << 20
"""Inputs with more bytes are submitted in several messages."""

PART_BYTES: Final = 1 << 20
"""The inputs of a message of an upload have at most so many bytes, unless a single one has more."""

PART_LENGTH: Final = 4_096
"""A message of an upload holds at most so many inputs."""

HEARTBEAT_INTERVAL: Final = 10.0
"""Seconds between the heartbeats on an idle stream, by default."""

HEARTBEATS_PER_SECOND: Final = 10
"""The most heartbeats a second on a stream with many runs, all runs together."""


class SubmitOptions(TypedDict, total=False):
    """The options of a submit; each may be left out."""

    max_concurrency: int | None
    """At most so many items execute at the same time, at least 1; None: the runtime decides."""
    overrides: Mapping[str, Any] | Json | None
    """Changes to the flow's steps for this run: `{"steps": {ID: {"value": PATCH}}}`."""
    variables: Mapping[str, Any] | None
    """The values of the flow's variables by name: Python values or Json."""
    flow_label: str | None
    """A label for the run, 1 to 255 characters."""
    observability: ObservabilityContext | None
    """The trace that the submit belongs to."""
    idempotency_key: str | None
    """Submits with the same key and parameters return the same run; None: each submit gets a key of its own."""


@dataclass(frozen=True, slots=True)
class RunWatch:
    """A run to watch among many, with options of its own; they mean the same as those of `watch`."""

    run_id: str
    include_results: bool = False
    order: ResultOrder = ResultOrder.BY_INDEX
    resume_token: bytes = b""


def submit_params(flow_id: str, inputs: Iterable[object], **options: Unpack[SubmitOptions]) -> SubmitParams:
    """Return the parameters of a submit, with a new idempotency key if none is given.

    Raises InvalidParams if one of them is not valid.
    """
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
    """Return the parameters to watch each of many runs. Of a run that is named twice, the last options count.

    Raises InvalidParams if one of them is not valid.
    """
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
    """Return the parameters to follow a run until it has finished. Raises InvalidParams if one of them is not valid."""
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
    """Return the parameters of a get. Raises InvalidParams if one of them is not valid."""
    return validated(GetParams, {"run_id": run_id, **fields})


def input_texts(inputs: Iterable[object]) -> Iterator[JsonText]:
    """Yield the JSON text of each input. Raises InvalidParams if one is not a JSON value."""
    return (text_of(value, "inputs", index) for index, value in enumerate(inputs))


def texts_of(params: SubmitParams, inputs: Iterable[object] | None) -> Iterator[JsonText]:
    """Yield the JSON text of each input; None stands for the inputs of `params`, which are text already."""
    return iter(params.inputs) if inputs is None else input_texts(inputs)


def repeatable(inputs: object) -> bool:
    """Return whether inputs can be iterated more than once: an iterator cannot."""
    return not isinstance(inputs, (Iterator, AsyncIterator))


def fits(params: SubmitParams) -> bool:
    """Return whether the inputs fit in one message."""
    size = 0
    for text in params.inputs:
        size += _size(text)
        if size > MESSAGE_BYTES:
            return False
    return True


class Parts:
    """Collects inputs into the messages of an upload."""

    def __init__(self, params: SubmitParams) -> None:
        bare = params.model_copy(update={"inputs": []})
        self._message = runs_pb2.SubmitRunStreamRequest(parameters=proto.submit_params_to_proto(bare))
        self._size = 0

    def add(self, text: JsonText) -> runs_pb2.SubmitRunStreamRequest | None:
        """Add an input. Returns the message before it if that is full, None otherwise."""
        size = _size(text)
        full = self._size and (self._size + size > PART_BYTES or len(self._message.inputs) == PART_LENGTH)
        message = self.rest() if full else None
        self._message.inputs.add().json = text
        self._size += size
        return message

    def rest(self) -> runs_pb2.SubmitRunStreamRequest:
        """Return the last message, with the inputs since the last full one."""
        message, self._message, self._size = self._message, runs_pb2.SubmitRunStreamRequest(), 0
        return message


def in_parts(params: SubmitParams, texts: Iterable[JsonText]) -> Iterator[runs_pb2.SubmitRunStreamRequest]:
    """Yield the messages of an upload."""
    parts = Parts(params)
    for text in texts:
        if (message := parts.add(text)) is not None:
            yield message
    yield parts.rest()


def _size(text: JsonText) -> int:
    return len(text) if text.isascii() else len(text.encode())
