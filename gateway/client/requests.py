"""The requests of the clients: checked parameters, in messages of a limited size."""

import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict, TypeVar, Unpack

from msgspec.structs import asdict, replace

from gateway.adapter import params_proto
from gateway.client.payload import Json, text_of
from gateway.core.errors import InvalidParams
from gateway.core.json_text import lone_surrogate
from gateway.core.model import GetParams, JsonText, Message, ObservabilityContext, ResultOrder, SubmitParams
from gateway.core.validation import validated
from gateway.peers.grpc.upload import text_bytes
from runs.v1 import runs_pb2

_M = TypeVar("_M", bound=Message)

MESSAGE_BYTES: Final = 16 << 20
"""Inputs with more bytes are submitted in several messages."""

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
    labels: Mapping[str, str]
    """Names and values by which the run can be found: at most 32, of at most 255 characters each."""
    execution_timeout: float | None
    """Seconds that the run may take before it is cancelled; None: as long as the gateway allows."""
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
    if "labels" in options:
        fields["labels"] = dict(options["labels"])
    return checked(SubmitParams, fields)


def many_params(
    runs: Iterable[str | RunWatch],
    include_results: bool,
    order: ResultOrder,
    heartbeat_interval: float,
    timeout: float | None,
) -> tuple[list[GetParams], list[tuple[str, InvalidParams]]]:
    """Return the parameters to watch each of many runs, and the ids of those that cannot be, each with its error.

    Of a run that is named twice, the last options count. Raises InvalidParams if what is for all runs is not valid.
    """
    watches = {}
    for run in runs:
        watch = RunWatch(run, include_results, order) if isinstance(run, str) else run
        watches[watch.run_id] = watch
    interval = max(heartbeat_interval, len(watches) / HEARTBEATS_PER_SECOND)
    # What is for all is checked with an id that is as good as any.
    _watch_params(RunWatch("any", include_results, order), interval, timeout)
    watched: list[GetParams] = []
    refused: list[tuple[str, InvalidParams]] = []
    for watch in watches.values():
        try:
            watched.append(_watch_params(watch, interval, timeout))
        except InvalidParams as error:
            # Its traceback holds this frame.
            refused.append((watch.run_id, error.with_traceback(None)))
    return watched, refused


def _watch_params(watch: RunWatch, heartbeat_interval: float, timeout: float | None) -> GetParams:
    """What one run of many is watched by. Raises InvalidParams if its id, or one of its options, is not valid."""
    return wait_params(
        watch.run_id,
        include_results=watch.include_results,
        order=watch.order,
        heartbeat_interval=heartbeat_interval,
        timeout=timeout,
        resume_token=watch.resume_token,
    )


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
    return checked(GetParams, {"run_id": run_id, **fields})


def checked(message: type[_M], fields: Mapping[str, object]) -> _M:
    """Build a message of what a caller gave: texts of Python may be none that can be sent.

    Raises InvalidParams if a field breaks its rule.
    """
    check_texts(fields)
    return validated(message, fields)


def check_texts(given: object, *path: str) -> None:
    """Check that the texts in parameters at `path` can be sent. Raises InvalidParams if one has a lone surrogate."""
    if isinstance(given, Message):
        given = asdict(given)
    if isinstance(given, Mapping):
        for name, value in given.items():
            check_texts(name, *path)
            check_texts(value, *path, name)
    elif isinstance(given, str) and not given.isascii():
        try:
            given.encode()
        except UnicodeEncodeError as error:
            raise lone_surrogate(error.start, *path) from None


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
        size += text_bytes(text)
        if size > MESSAGE_BYTES:
            return False
    return True


def upload_head(params: SubmitParams) -> runs_pb2.SubmitRunRequest:
    """Return the parameters of an upload, whose inputs are sent after them."""
    return params_proto.submit_params_to_proto(replace(params, inputs=[]))
