"""Blobs and flows <-> bodies of a Stepflow engine's REST API. No I/O.

An engine stores a JSON blob without white space between its tokens and with its numbers as it holds them, keys in
their order, and names it by the digest of that. It does not check a flow that is stored as a blob. It checks one that
is stored as a flow, but 0.12 and 0.13 then store another document. So flows are stored in the first way, after the
second one, told to store nothing, has checked them.
"""

import re
from typing import Any, Final

import msgspec

from gateway.adapter.remote_errors import parse_path
from gateway.core.errors import InvalidFlow, Violation
from gateway.core.model import JsonText
from gateway.runtimes.stepflow.run_bodies import (
    MAX_MESSAGE,
    Form,
    decoded,
    engine_blob_id,
    failure,
    message_of,
    too_large,
)

FATAL_LEVELS: Final = frozenset({1, "fatal"})
"""The levels of diagnostics with which the engine does not run a flow. With an `error` it does."""


class _StoredBlob(msgspec.Struct, rename="camel"):
    blob_id: str


class _Diagnostic(msgspec.Struct):
    level: int | str
    formatted: str = ""
    path: str = "$"


class _Diagnostics(msgspec.Struct):
    diagnostics: list[_Diagnostic] = msgspec.field(default_factory=list)


class _CheckedFlow(msgspec.Struct):
    diagnostics: _Diagnostics = msgspec.field(default_factory=_Diagnostics)


_PLACE: Final = re.compile(r"flow\.([^\s:]+): (.*)", re.DOTALL)
"""How 0.10 and 0.11 begin a message that tells of a place in the document."""

_STORED_BLOB: Final = msgspec.json.Decoder(_StoredBlob)
_CHECKED_FLOW: Final = msgspec.json.Decoder(_CheckedFlow)


def blob_to_store(content: JsonText, kind: str) -> bytes:
    """The body that stores a JSON blob. The engine keeps it without white space between tokens."""
    return f'{{"data":{content},"blobType":"{kind}"}}'.encode()


def blob_id_from_json(body: bytes) -> str:
    """Read the answer to a stored blob: its id, which is that of the bytes as the engine keeps them."""
    stored: _StoredBlob = decoded(_STORED_BLOB, body)
    return engine_blob_id(stored.blob_id)


def flow_to_check(flow: JsonText, form: Form) -> bytes:
    """The body that has a flow checked and stores nothing.

    0.12 and 0.13 turn the integers of the document into doubles, and then refuse `maxRetries: 1.0`; not so when they
    run a flow that was stored as a blob. So it is left out where it is right. InvalidFlow if it is no flow at all.
    """
    steps = _checked_steps(flow)
    if form is Form.PROTO and any(_has_retries(step) for step in steps):
        document = msgspec.json.decode(flow)
        for step in document["steps"]:
            if _has_retries(step):
                del step["onError"]["maxRetries"]
        flow = msgspec.json.encode(document).decode()
    return f'{{"flow":{flow},"dryRun":true}}'.encode()


def refuse_invalid_flow(status: int, body: bytes) -> None:
    """InvalidFlow if the answer to a flow that was to be checked says that it cannot run."""
    if status == 413:
        raise too_large()
    if status in (400, 422):
        message = message_of(body).removeprefix("invalid flow definition: ")
        place = _PLACE.match(message)
        if place is None:
            raise InvalidFlow([Violation((), message)])
        raise InvalidFlow([Violation(parse_path(place[1]), place[2])])
    if status != 200:
        raise failure(status, body)
    answer: _CheckedFlow = decoded(_CHECKED_FLOW, body)
    violations = [
        Violation(parse_path(found.path.removeprefix("$").removeprefix(".")), found.formatted[:MAX_MESSAGE])
        for found in answer.diagnostics.diagnostics
        if found.level in FATAL_LEVELS
    ]
    if violations:
        raise InvalidFlow(violations)


def _checked_steps(flow: JsonText) -> list[Any]:
    try:
        document = msgspec.json.decode(flow)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidFlow([Violation((), "nested too deeply")]) from None
    if not isinstance(document, dict) or not ("steps" in document or "output" in document):
        raise InvalidFlow([Violation((), "expected a flow: an object with 'steps' and 'output'")])
    steps = document.get("steps")
    return steps if isinstance(steps, list) else []


def _has_retries(step: Any) -> bool:
    on_error = step.get("onError") if isinstance(step, dict) else None
    retries = on_error.get("maxRetries") if isinstance(on_error, dict) else None
    return type(retries) is int and 0 <= retries < 2**32
