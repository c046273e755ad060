"""Long bodies of JSON-RPC and of the blob API, read in turns with everything else.

The parameters of a long request are its members, and the inputs of a submit are packed.
"""

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
from gateway.core.json_text import string
from gateway.core.model import JsonText
from gateway.core.packed_texts import PackedTexts

_SUBMIT = "runs/submit"


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
        spans = await member_spans(body, span, checkpoint)
    except NameTooLong as error:
        return Refused("null", InvalidRequest(f"not a request: {error.message}"))
    params = spans.pop("params", None)
    given: dict[str, Params] = {name: await decoded(body, at, checkpoint) for name, at in spans.items()}
    if params is not None:
        try:
            given["params"] = await _members(body, params, checkpoint, packs=_is_submit(given.get("method")))
        except NameTooLong as error:
            call = call_from_members(given)
            if isinstance(call, Request) and call.id is not None:
                return Refused(call.id, error.under("params"))
            return call  # A notification, which nothing answers. Every method refuses it without parameters.
    return call_from_members(given)


async def _members(body: bytes, span: Span, checkpoint: Checkpoint, *, packs: bool = False) -> Params:
    if span.stop - span.start <= LONG_TEXT or not body.startswith(b"{", span.start):
        return await decoded(body, span, checkpoint)
    members: dict[str, JsonText | PackedTexts] = {}
    for name, at in (await member_spans(body, span, checkpoint)).items():
        if packs and name == "inputs" and at.stop - at.start > LONG_TEXT and body.startswith(b"[", at.start):
            members[name] = await packed_elements(body, at, checkpoint, name)
        else:
            members[name] = await decoded(body, at, checkpoint, name)
    return members


def _is_submit(method: Params) -> bool:
    try:
        return isinstance(method, str) and string(method) == _SUBMIT
    except InvalidParams:
        return False
