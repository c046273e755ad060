"""Blobs and flows <-> bodies of a Stepflow engine's REST API. No I/O.

An engine stores a JSON blob without white space between its tokens, with its numbers as it holds them and its keys in
their order, and names it by the digest of that text. It does not check a flow that is stored as a blob. It checks one
that is stored as a flow, but 0.12 and 0.13 then store another document. So the engine first checks a flow without
storing it, and then stores it as a blob.
"""

import re
from typing import Any, Final

import msgspec

from gateway.adapter.remote_errors import parse_path
from gateway.core.errors import InvalidFlow, Violation
from gateway.core.model import JsonText
from gateway.runtimes.stepflow.engine_errors import MAX_MESSAGE, answer_error, message_of, too_large
from gateway.runtimes.stepflow.wire_format import WireFormat, decode, read_blob_id

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


_PATH_AND_REASON: Final = re.compile(r"flow\.([^\s:]+): (.*)", re.DOTALL)
"""Matches a message of 0.10 and 0.11 about one value of the document, which begins with the path of the value."""

_STORED_BLOB: Final = msgspec.json.Decoder(_StoredBlob)
_CHECKED_FLOW: Final = msgspec.json.Decoder(_CheckedFlow)


def blob_to_store(content: JsonText, kind: str) -> bytes:
    """Return the body that stores a JSON blob."""
    return f'{{"data":{content},"blobType":"{kind}"}}'.encode()


def blob_id_from_json(body: bytes) -> str:
    """Read the answer to a stored blob: the id of the blob. Raises RemoteError if it has no valid id."""
    stored: _StoredBlob = decode(_STORED_BLOB, body)
    return read_blob_id(stored.blob_id)


def flow_to_check(flow: JsonText, wire_format: WireFormat) -> bytes:
    """Return the body with which the engine checks a flow and stores nothing.

    0.12 and 0.13 turn the integers of the document into doubles, and then refuse `maxRetries: 1.0`; they do not when
    they run a flow that was stored as a blob. So a valid `maxRetries` is left out. Raises InvalidFlow if the document
    is not a flow at all.
    """
    steps = _checked_steps(flow)
    if wire_format is WireFormat.PROTO_JSON and any(_has_retries(step) for step in steps):
        document = msgspec.json.decode(flow)
        for step in document["steps"]:
            if _has_retries(step):
                del step["onError"]["maxRetries"]
        flow = msgspec.json.encode(document).decode()
    return f'{{"flow":{flow},"dryRun":true}}'.encode()


def refuse_invalid_flow(status: int, body: bytes) -> None:
    """Read the answer to a flow that was to be checked. Raises InvalidFlow if the engine cannot run it."""
    if status == 413:
        raise too_large()
    if status in (400, 422):
        message = message_of(body).removeprefix("invalid flow definition: ")
        found = _PATH_AND_REASON.match(message)
        if found is None:
            raise InvalidFlow([Violation((), message)])
        raise InvalidFlow([Violation(parse_path(found[1]), found[2])])
    if status != 200:
        raise answer_error(status, body)
    answer: _CheckedFlow = decode(_CHECKED_FLOW, body)
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
