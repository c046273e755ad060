"""The canonical forms of JSON texts of any length, made in steps: one pass over the text, with a stack.

The parser makes the form of some short elements or members at once, up to a comma of their level that is found by
trying, as `json_walk` does it. What is longer than a window is gone into, and what few of these tries get right.
"""

import re
from collections.abc import Iterator
from typing import Final

from gateway.core.canonical_json import RESPELLED_TEXT, NotJson, bounded, form_at_once, short_form
from gateway.core.forms import UNCOUNTED, JoinedForm, Memory, ObjectForm
from gateway.core.json_layout import Steps
from gateway.core.json_numbers import LongNumber, has_respelled
from gateway.core.json_walk import PART_OF_STRING
from gateway.core.model import JsonText

WINDOW: Final = 4 << 10
"""How many characters a step looks at, about."""

_COMMAS: Final = (",", "},", "],")
_MEMBERS_TEXT: Final = RESPELLED_TEXT
"""How much of an object: each of its members is looked at by itself, and its numbers may have to be spelled anew."""

_SMALLER_GROUPS: Final = (1_024, 128)
_MANY_BRACKETS: Final = 400
"""Fewer brackets nest no deeper than parsers take in any case."""

_SPARE_LEVELS: Final = 50

_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_ATOM: Final = re.compile(r"[^,\]} \t\n\r]*+")
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def form_of(text: JsonText, memory: Memory = UNCOUNTED) -> Steps[bytes]:
    """The canonical form of a text, or what stands for a long one. What is held of a long text is counted before."""
    form = form_at_once(text)
    if form is not None:
        return form
    walk = _Walk(text, memory)
    while walk.form is None:
        yield from walk.step()
        yield
    return walk.form


class _Walk:
    """A walk over a text. `form` is that of the text when the walk has come to its end."""

    def __init__(self, text: JsonText, memory: Memory) -> None:
        self.form: bytes | None = None
        self._text = text
        self._memory = memory
        self._position = 0
        self._opened: list[JoinedForm | ObjectForm] = []
        self._names: list[bytes | None] = []
        """For each open object the name of the member whose value comes next."""
        self._string: JoinedForm | None = None
        self._string_is_name = False
        self._number: tuple[LongNumber, JoinedForm] | None = None

    def step(self) -> Steps[None]:
        """Go on by about a window."""
        limit = min(self._position + WINDOW, len(self._text))
        if self._string is not None:
            yield from self._go_on_in_string(self._string, limit)
            return
        if self._number is not None:
            yield from self._go_on_in_number(*self._number, limit)
            return
        position = _end(_SPACE, self._text, self._position, limit)
        if position < limit and self._text[position] in ",:":
            position = _end(_SPACE, self._text, position + 1, limit)
        self._position = position
        if position == limit:
            return
        if self._text[position] in "]}":
            self._position += 1
            self._names.pop()
            yield from self._deliver((yield from self._opened.pop().close()))
        elif not (self._opened and self._names[-1] is None and (yield from self._take_group(limit))):
            yield from self._take_child(limit)

    def _deliver(self, form: bytes) -> Steps[None]:
        """Put the form of what has ended where it belongs."""
        if self._string_is_name:
            self._string_is_name = False
            # A number stands for a long name; a name is a string.
            self._names[-1] = form if form.startswith(b'"') else b'"\\u0000%b"' % form
            return
        if not self._opened:
            self.form = form
            return
        around = self._opened[-1]
        if isinstance(around, JoinedForm):
            around.add(form)
        else:
            name, self._names[-1] = self._names[-1], None
            assert name is not None
            yield from around.add_member(name, form)

    def _take_group(self, limit: int) -> Steps[bool]:
        """Take the elements or members up to the last comma of their level in the window; return whether there are."""
        start, around = self._position, self._opened[-1]
        opening, closing = "[]"
        if isinstance(around, ObjectForm):
            opening, closing = "{}"
            limit = min(limit, start + _MEMBERS_TEXT)
        elif limit - start > RESPELLED_TEXT and has_respelled(self._text[start:limit]):
            limit = start + RESPELLED_TEXT
        for end in _ends_of_groups(self._text, start, limit):
            form = _group_form(f"{opening}{self._text[start : end - 1]}{closing}")
            if form is None:
                continue
            if isinstance(around, JoinedForm):
                around.add(form[1:-1])
            else:
                yield from around.add_group(form)
            self._position = end
            return True
        return False

    def _take_child(self, limit: int) -> Steps[None]:
        """Take the next name, or the next value, or go into it if it is long."""
        start, text = self._position, self._text
        is_name = bool(self._opened) and isinstance(self._opened[-1], ObjectForm) and self._names[-1] is None
        sign = text[start]
        if sign in "[{":
            self._opened.append(JoinedForm(b"[", b"]", b",", self._memory) if sign == "[" else ObjectForm(self._memory))
            self._names.append(None)
            self._position += 1
            return
        self._string_is_name = is_name
        found = (_STRING if sign == '"' else _ATOM).match(text, start, limit)
        if found and (sign == '"' or found.end() < limit or limit == len(text)):
            self._position = found.end()
            yield from self._deliver(short_form(found[0]))
        elif sign == '"':
            self._string = JoinedForm(b'"', b'"', memory=self._memory)
            self._position += 1
        else:
            self._number = LongNumber(), JoinedForm(b"", b"", memory=self._memory)

    def _go_on_in_string(self, string: JoinedForm, limit: int) -> Steps[None]:
        start, text = self._position, self._text
        plain = text.find('"', start, limit) < 0 and text.find("\\", start, limit) < 0
        end = limit if plain else _end(PART_OF_STRING, text, start, limit)
        string.add(short_form(f'"{text[start:end]}"')[1:-1])
        if text[end : end + 1] != '"':
            self._position = end
            return
        self._position = end + 1
        self._string = None
        yield from self._deliver((yield from string.close()))

    def _go_on_in_number(self, number: LongNumber, digits: JoinedForm, limit: int) -> Steps[None]:
        start, text = self._position, self._text
        end = self._position = _end(_ATOM, text, start, limit)
        number.add(text[start:end])
        for some in number.digits:
            digits.add(some.encode())
        number.digits.clear()
        if end == limit < len(text):
            return
        self._number = None
        coefficient = yield from digits.close()
        yield from self._deliver(bounded(number.canonical(coefficient.decode()).encode()))


def _ends_of_groups(text: JsonText, start: int, limit: int) -> Iterator[int]:
    """Where a comma of the level at `start` may end, the likely places first."""
    for size in (limit - start, *_SMALLER_GROUPS):
        last = start
        for sign in _COMMAS:
            end = text.rfind(sign, start, min(start + size, limit)) + len(sign)
            if end > start and end != last:
                last = end
                yield end


def _group_form(text: JsonText) -> bytes | None:
    """The form of an array or object; None if the text is neither, or nests too deeply."""
    try:
        form = short_form(text)
        if text.startswith("{") and text.count("[") + text.count("{") > _MANY_BRACKETS:
            # It is parsed once more when the object has ended, maybe with more calls under way.
            short_form("[" * _SPARE_LEVELS + text + "]" * _SPARE_LEVELS)
    except (*NotJson, RecursionError):
        return None
    return form


def _end(pattern: "re.Pattern[str]", text: JsonText, start: int, stop: int) -> int:
    found = pattern.match(text, start, stop)
    assert found is not None  # Each of these patterns matches the empty text.
    return found.end()
