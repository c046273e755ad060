"""Long bodies of JSON-RPC and of the blob API, read in turns with everything else.

The parameters of a long request are its members, and the inputs of a submit are packed.
"""

from typing import Any, Final

from gateway.adapter.json_members import Params
from gateway.adapter.jsonrpc import (
    MAX_BATCH,
    Batch,
    Call,
    Refused,
    Request,
    call_from_members,
    call_from_text,
    refuse_batch,
)
from gateway.core.errors import InvalidParams, InvalidRequest, ParseError
from gateway.core.json_parts import (
    LONG_TEXT,
    Checkpoint,
    NameTooLong,
    Span,
    check_json,
    decoded,
    element_spans,
    member_spans,
    packed_elements,
    stripped,
)
from gateway.core.json_text import MAX_MEMBERS, string, too_many
from gateway.core.model import JsonText

_SUBMIT: Final = "runs/submit"
_DIVIDED: Final = {_SUBMIT: ("observability", "variables"), "runs/get": ("observability",)}
"""Parameters whose own members are read one by one, by the method."""


async def read_long_body(body: bytes, checkpoint: Checkpoint) -> Call | Batch:
    """Read the body of a POST as `jsonrpc.parse_body` does, and raise what it raises."""
    try:
        await check_json(body, checkpoint)
        whole = stripped(body, Span(0, len(body)))
        if not body.startswith(b"[", whole.start):
            return await _call(body, whole, checkpoint)
        spans = await element_spans(body, whole, checkpoint, MAX_BATCH)
        refuse_batch(len(spans))
        return Batch([await _call(body, span, checkpoint) for span in spans])
    except InvalidParams as error:
        raise ParseError(error.message) from None


async def read_long_members(body: bytes, checkpoint: Checkpoint) -> Params:
    """Read the body of a POST that is one object; anything else is read as its text."""
    await check_json(body, checkpoint)
    return await _members(body, stripped(body, Span(0, len(body))), checkpoint)


async def _call(body: bytes, span: Span, checkpoint: Checkpoint) -> Call:
    if span.stop - span.start <= LONG_TEXT:
        return call_from_text(await decoded(body, span, checkpoint))
    if not body.startswith(b"{", span.start):
        return call_from_text("null")
    try:
        spans = await member_spans(body, span, checkpoint, MAX_MEMBERS)
    except NameTooLong as error:
        return Refused("null", InvalidRequest(f"not a request: {error.message}"))
    if len(spans) > MAX_MEMBERS:
        # It is refused, so nothing but its id is read, if that is among those that have been found.
        spans = {name: at if name == "id" else Span(0, 0) for name, at in spans.items()}
    params = spans.pop("params", None)
    given: dict[str, Params] = {}
    for name, at in spans.items():
        given[name] = await decoded(body, at, checkpoint)
        await checkpoint()
    if params is not None:
        try:
            given["params"] = await _members(body, params, checkpoint, _method(given.get("method")))
        except NameTooLong as error:
            call = call_from_members(given)
            if isinstance(call, Request) and call.id is not None:
                return Refused(call.id, error.under("params"))
            return call  # A notification, which nothing answers. Every method refuses it without parameters.
    return call_from_members(given)


async def _members(
    body: bytes, span: Span, checkpoint: Checkpoint, method: str = "", *path: str
) -> JsonText | dict[str, Any] | InvalidParams:
    """The parameters of a method, or the members of one of its parameters, the path of which is given."""
    if span.stop - span.start <= LONG_TEXT or not body.startswith(b"{", span.start):
        return await decoded(body, span, checkpoint, *path)
    spans = await member_spans(body, span, checkpoint, MAX_MEMBERS)
    if len(spans) > MAX_MEMBERS:
        return too_many(*path or ("params",))
    divided = _DIVIDED.get(method, ()) if not path else ()
    members: dict[str, Any] = {}
    for name, at in spans.items():
        is_long = at.stop - at.start > LONG_TEXT
        if name == "inputs" and is_long and method == _SUBMIT and not path and body.startswith(b"[", at.start):
            members[name] = await packed_elements(body, at, checkpoint, name)
        elif name in divided:
            try:
                members[name] = await _members(body, at, checkpoint, method, name)
            except NameTooLong as error:
                members[name] = error.under(name)
        else:
            members[name] = await decoded(body, at, checkpoint, *path, name)
        await checkpoint()
    return members


def _method(text: Params) -> str:
    try:
        return string(text) if isinstance(text, str) else ""
    except InvalidParams:
        return ""
