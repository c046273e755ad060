"""What an idempotency key stands for: a digest of the parameters that determine a run, by their meaning.

White space, escapes, the order of members and the spelling of numbers make no difference, and neither does a default
that is spelled out. It is the digest of the canonical form of one JSON value, which lists the parameters.
"""

import hashlib
from collections.abc import Generator, Sequence
from typing import Final

import msgspec

from gateway.concurrency.memory_account import MemoryAccount, MemoryShare
from gateway.concurrency.time_slice import TimeSlice, in_slices
from gateway.core.canonical_json import SHORT_TEXT, encode_form, form_at_once, short_form
from gateway.core.errors import IdempotencyConflict
from gateway.core.forms import JoinedForm, Memory, ObjectForm
from gateway.core.json_layout import Layout, Steps
from gateway.core.json_text import quote
from gateway.core.long_forms import form_of
from gateway.core.model import JsonText, SubmitParams
from gateway.core.packed_texts import chunks_of

_KIND: Final = "m"
"""What a fingerprint begins with."""

_FEW_PARTS: Final = 64
_NULL: Final = "null"
_DEFAULT_TYPES: Final = (b"null", b'"merge_patch"')


async def fingerprint(params: SubmitParams, *, concurrency: int | None = None, share: MemoryShare | None = None) -> str:
    """The fingerprint of a submit. `concurrency` is the default of `max_concurrency`, if it is known.

    Long parameters, and many, are read in turns with everything else. What is held of them meanwhile draws from
    `share`. Raises Overloaded if that leaves no room.
    """
    given = params.max_concurrency
    fixed = [
        quote(params.flow_id),
        _NULL if given is None or given == concurrency else str(given),
        quote(params.flow_label) if params.flow_label else _NULL,
    ]
    if params.labels or params.execution_timeout is not None:
        # Without them, the digest is that of releases that did not know them.
        fixed.append(msgspec.json.encode([params.labels, params.execution_timeout]).decode())
    inputs, variables = params.inputs, params.variables
    form = None
    if params.overrides is None and len(inputs) + len(variables) <= _FEW_PARTS:
        texts = [*inputs, *variables.values()]
        if sum(map(len, texts)) <= SHORT_TEXT:
            named = [f"{quote(name)}:{text}" for name, text in variables.items()]
            form = form_at_once(f"[{','.join(fixed)},{{{','.join(named)}}},{{}},[{','.join(inputs)}]]")
    if form is None:
        with (share or MemoryAccount().share()).hold() as memory:
            form = await in_slices(_form(fixed, params, memory), TimeSlice())
    return f"{_KIND}{hashlib.sha256(form).hexdigest()}"


def refuse_other(kept: str, fingerprint: str) -> None:
    """Raise IdempotencyConflict if a submit is not the one before, of whose key `kept` is the fingerprint.

    What was kept before fingerprints were by meaning can be compared with none, and stands for any parameters.
    """
    if kept != fingerprint and kept.startswith(_KIND):
        raise IdempotencyConflict("the idempotency key was used before with other parameters")


def _form(fixed: Sequence[JsonText], params: SubmitParams, memory: Memory) -> Steps[bytes]:
    variables = ObjectForm(memory)
    for name, text in params.variables.items():
        yield from variables.add_member(encode_form(name), (yield from form_of(text, memory)))
        yield
    form = JoinedForm(b"[", b"]", b",", memory)
    form.add(short_form(f"[{','.join(fixed)}]")[1:-1])
    form.add((yield from variables.close()))
    form.add((yield from _overrides(params.overrides or "{}", memory)))
    form.add((yield from _inputs(params.inputs, memory)))
    return (yield from form.close())


def _inputs(inputs: Sequence[JsonText], memory: Memory) -> Steps[bytes]:
    form = JoinedForm(b"[", b"]", b",", memory)
    for chunk in chunks_of(inputs):
        some = form_at_once(f"[{chunk.text}]") if len(chunk.text) < SHORT_TEXT else None
        if some is not None:
            form.add(some[1:-1])
        else:
            for text in chunk.texts():
                form.add((yield from form_of(text, memory)))
                yield
        yield
    return (yield from form.close())


def _overrides(text: JsonText, memory: Memory) -> Steps[bytes]:
    """The form of overrides, whether or not they have the level `steps` and name the type of each."""
    layout = yield from Layout.of(text)
    found = yield from _children(layout, 0)
    if "steps" in found and text.startswith(_NULL, found["steps"][0]):
        del found["steps"]
    if found.keys() == {"steps"} and text[found["steps"][0]] == "{":
        found = yield from _children(layout, found["steps"][0])
    overrides = ObjectForm(memory)
    for name, (start, end) in found.items():
        override = ObjectForm(memory)
        if text[start] != "{":
            yield from overrides.add_member(encode_form(name), (yield from form_of(text[start:end], memory)))
            continue
        for member, (begin, stop) in (yield from _children(layout, start)).items():
            form = yield from form_of(text[begin:stop], memory)
            if member != "$type" or form not in _DEFAULT_TYPES:
                yield from override.add_member(encode_form(member), form)
        yield from overrides.add_member(encode_form(name), (yield from override.close()))
        yield
    return (yield from overrides.close())


def _children(layout: Layout, start: int) -> Generator[None, None, dict[str, tuple[int, int]]]:
    """Where the members of an object are; of repeated ones the last counts."""
    found: dict[str, tuple[int, int]] = {}
    for child in layout.children(start):
        if child is None:
            yield
        else:
            found[str(child[0])] = child[1:]
    return found
