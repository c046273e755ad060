"""The canonical form of JSON values: texts that mean the same have the same form.

White space, escapes, the order of members and the spelling of numbers do not count; numbers are compared exactly. Of
repeated members the last one counts, at its value. `short_form` has the parser do all that. `gateway.core.long_forms`
makes the forms of long texts in steps, and stores no more of them than it must: a form that is too long is replaced by
its digest. This depends on the form, and not on how the text is spelled, so that both ways lead to the same.
"""

import hashlib
import json
from typing import Final

import msgspec

from gateway.core.json_numbers import canonical_number, has_long_integer, has_respelled_decimal
from gateway.core.model import JsonText

SHORT_TEXT: Final = 10 << 10
"""Texts of up to so many characters are put into their form at once: some 0.2 ms."""

RESPELLED_TEXT: Final = 1 << 10
"""The same for texts with numbers that are not in their form: each of these takes a microsecond."""

MAX_FORM: Final = 64 << 10
"""Longer forms, in bytes, are replaced by their digests. That of a short text never is: a character of it becomes five
bytes at most (`1e19`)."""


def _number(literal: str) -> msgspec.Raw:
    return msgspec.Raw(canonical_number(literal))


class _HasDecimalError(Exception):
    """A text has a number with a point or an exponent."""


def _refuse(_: str) -> None:
    raise _HasDecimalError


_PLAIN_DECODER: Final = msgspec.json.Decoder(float_hook=_refuse)
_DECODER: Final = msgspec.json.Decoder(float_hook=msgspec.Raw)
_RESPELLING_DECODER: Final = msgspec.json.Decoder(float_hook=_number)
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


NotJson: Final = (ValueError, msgspec.DecodeError)
"""What `short_form` raises if a text is not JSON."""


def form_at_once(text: JsonText) -> bytes | None:
    """The form of a short text. None if it must be made in steps: the text is long, or nests deeply."""
    if len(text) > SHORT_TEXT:
        return None
    try:
        return _form(text, can_respell=len(text) <= RESPELLED_TEXT)
    except RecursionError:
        return None


def short_form(text: JsonText) -> bytes:
    """The form of a text that is known to be short. Raises RecursionError if it nests too deeply for a parser."""
    form = _form(text, can_respell=True)
    assert form is not None
    return form


def _form(text: JsonText, *, can_respell: bool) -> bytes | None:
    if not has_long_integer(text):
        try:
            # To look for decimals takes longer than to parse a text that has none.
            return _ENCODER.encode(_PLAIN_DECODER.decode(text))
        except _HasDecimalError:
            pass
        if not has_respelled_decimal(text):
            return _ENCODER.encode(_DECODER.decode(text))
        return _ENCODER.encode(_RESPELLING_DECODER.decode(text)) if can_respell else None
    return _ENCODER.encode(json.loads(text, parse_int=_number, parse_float=_number)) if can_respell else None


def encode_form(value: str | dict[str, msgspec.Raw]) -> bytes:
    """The form of a string, or of an object whose members are forms."""
    return _ENCODER.encode(value)


def digest_form(digest: "hashlib._Hash") -> bytes:
    """What stands for a long form: a number that is spelled as no form is."""
    return b"-0e%d" % int.from_bytes(digest.digest())


def bounded(form: bytes, limit: int | None = None) -> bytes:
    """A form, or what stands for it if it has more than `limit` bytes, or MAX_FORM."""
    return form if len(form) <= (limit or MAX_FORM) else digest_form(hashlib.sha256(form))
