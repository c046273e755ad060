"""What an idempotency key stands for: a digest of the parameters that determine a run, by their meaning.

White space, escapes, the order of members and the spelling of numbers make no difference, and neither does a default
that is spelled out. It is the digest of the canonical form of one JSON value, which lists the parameters.
"""

import hashlib
from collections.abc import Generator, Sequence
from typing import Final

from gateway.concurrency.time_slice import TimeSlice, in_slices
from gateway.core.canonical_json import encode_form, is_short, short_form
from gateway.core.forms import JoinedForm, ObjectForm
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


async def fingerprint(params: SubmitParams, *, concurrency: int | None = None) -> str:
    """The fingerprint of a submit. `concurrency` is the default of `max_concurrency`, if it is known.

    Long parameters, and many, are read in turns with everything else.
    """
    given = params.max_concurrency
    fixed = (
        quote(params.flow_id),
        _NULL if given is None or given == concurrency else str(given),
        quote(params.flow_label) if params.flow_label else _NULL,
    )
    inputs, variables = params.inputs, params.variables
    form = None
    if params.overrides is None and len(inputs) + len(variables) <= _FEW_PARTS:
        named = [f"{quote(name)}:{text}" for name, text in variables.items()]
        form = _short(f"[{','.join(fixed)},{{{','.join(named)}}},{{}},[{','.join(inputs)}]]")
    if form is None:
        form = await in_slices(_form(fixed, params), TimeSlice())
    return f"{_KIND}{hashlib.sha256(form).hexdigest()}"


def is_same(kept: str, fingerprint: str) -> bool:
    """Whether two submits are the same, given the fingerprint that was kept of the first one.

    What was kept before fingerprints were by meaning can be compared with none, and stands for any parameters.
    """
    return kept == fingerprint or not kept.startswith(_KIND)


def _short(text: JsonText) -> bytes | None:
    if not is_short(text):
        return None
    try:
        return short_form(text)
    except RecursionError:
        return None


def _form(fixed: Sequence[JsonText], params: SubmitParams) -> Steps[bytes]:
    variables = ObjectForm()
    for name, text in params.variables.items():
        yield from variables.add_member(encode_form(name), (yield from form_of(text)))
        yield
    form = JoinedForm(b"[", b"]", b",")
    form.add(short_form(f"[{','.join(fixed)}]")[1:-1])
    form.add((yield from variables.close()))
    form.add((yield from _overrides(params.overrides or "{}")))
    form.add((yield from _inputs(params.inputs)))
    return (yield from form.close())


def _inputs(inputs: Sequence[JsonText]) -> Steps[bytes]:
    form = JoinedForm(b"[", b"]", b",")
    for chunk in chunks_of(inputs):
        some = _short(f"[{chunk.text}]")
        if some is not None:
            form.add(some[1:-1])
        else:
            for text in chunk.texts():
                form.add((yield from form_of(text)))
                yield
        yield
    return (yield from form.close())


def _overrides(text: JsonText) -> Steps[bytes]:
    """The form of overrides, whether or not they have the level `steps` and name the type of each."""
    layout = yield from Layout.of(text)
    found = yield from _children(layout, 0)
    if found.keys() == {"steps"} and text[found["steps"][0]] == "{":
        found = yield from _children(layout, found["steps"][0])
    overrides = ObjectForm()
    for name, (start, end) in found.items():
        override = ObjectForm()
        if text[start] != "{":
            yield from overrides.add_member(encode_form(name), (yield from form_of(text[start:end])))
            continue
        for member, (begin, stop) in (yield from _children(layout, start)).items():
            form = yield from form_of(text[begin:stop])
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
