"""Looking into long JSON texts without copying them, in steps of bounded work.

Functions that return `Steps` are generators: they yield after each step, and return their result. `at_once` runs one to
its end; on an event loop, others have a turn between the steps.

`json_walk` goes over texts for another purpose. The two share their way of skipping what is short by a regular
expression, and of searching through strings, and nothing else. A walk checks bytes or text that may be malformed, and
stops at commas of the outermost level; it asks the parser for the next one, and never learns what lies between. A
layout goes into well-formed text again and again, along any path, and so remembers where long parts end on every level.

The text is well formed. A first pass over it, the only one that looks at every character, notes where its long parts
end (`Layout`). After that, the members and elements of a part are found without looking into its long parts again.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Generator, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from gateway.core.model import JsonText

_T = TypeVar("_T")

Steps: TypeAlias = Generator[None, None, _T]
"""Work in steps, and its result."""

STEP_CHARACTERS: Final = 16_384
"""How many characters a step looks at."""

SEARCHED_CHARACTERS: Final = 8 * STEP_CHARACTERS
"""How many characters of a string a step searches."""

MAX_MARK: Final = 16
"""How many characters a mark may have."""

SHORT: Final = 8_192
"""Parts of fewer characters are short: they are sliced out, and parsed as a whole."""

_PARTS: Final = 2_048
"""A text has at most so many long parts that are not inside each other, so that the layout of any text is small."""

_STRING = r'"(?:[^"\\]++|\\.)*+"'
_CONTENT = rf'[^"\[\]{{}}]++|{_STRING}'
for _ in range(4):
    # One more level of objects and arrays. Deeper ones are counted by `Layout.of`.
    _NESTED = rf"[\[{{](?:{_CONTENT})*+[\]}}]"
    _CONTENT = rf'[^"\[\]{{}}]++|{_STRING}|{_NESTED}'

_RUN = re.compile(rf"(?:{_CONTENT})*+", re.DOTALL)
_CHARACTERS = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_WHITE_SPACE = re.compile(r"[ \t\n\r]*+")
_ATOM = re.compile(r"[^,\]} \t\n\r]*+")
_SHORT_VALUE = rf"(?:{_STRING}|{_NESTED}|[^\[\]{{}},\" \t\n\r]++)"
_SKIPPED: Final = 256
_SHORT_ELEMENTS = re.compile(rf"(?:{_SHORT_VALUE}[ \t\n\r]*+,[ \t\n\r]*+){{{_SKIPPED}}}", re.DOTALL)
_ELEMENT = rf"({_SHORT_VALUE})[ \t\n\r]*+(?:,[ \t\n\r]*+)?"
_SHORT_ELEMENT = re.compile(_ELEMENT, re.DOTALL)
_SHORT_MEMBER = re.compile(rf"({_STRING})[ \t\n\r]*+:[ \t\n\r]*+{_ELEMENT}", re.DOTALL)
_SHORT_CONTAINER = re.compile(_NESTED, re.DOTALL)
_BRACKET_WORK: Final = 48
"""How many characters take as long as an object or array that is counted here."""

_DECODER = msgspec.json.Decoder(str)


def at_once(steps: Steps[_T]) -> _T:
    """Take all steps now, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


Child: TypeAlias = tuple[str | int, int, int]
"""A member or an element: its name or index, and where its value begins and ends."""


class Layout:
    """A long JSON text, and where its long objects and arrays end."""

    __slots__ = ("_ends", "_marks", "_starts", "text")

    def __init__(self, text: JsonText, starts: "array[int]", ends: "array[int]") -> None:
        self.text = text
        self._starts = starts
        self._ends = ends
        self._marks = array("Q")

    @classmethod
    def of(cls, text: JsonText) -> Steps["Layout"]:
        """Look for the long parts of a text."""
        starts, ends = array("Q"), array("Q")
        opened: list[int] = []
        long = max(SHORT, len(text) // _PARTS)
        position = work = 0
        while position < len(text):
            before = position
            position = _run_end(text, position)
            character = text[position] if position < len(text) else ""
            if character == '"':
                position = yield from _string_end(text, position)
            elif character in ("[", "{"):
                opened.append(len(starts))
                starts.append(position)
                ends.append(0)
                position += 1
            elif character in ("]", "}"):
                place = opened.pop()
                position += 1
                if position - starts[place] < long:
                    # All later ones are inside, and therefore short as well.
                    del starts[place:], ends[place:]
                else:
                    ends[place] = position
            work += position - before + _BRACKET_WORK
            if work >= STEP_CHARACTERS:
                work = 0
                yield
        return cls(text, starts, ends)

    def mark(self, pattern: re.Pattern[str]) -> Steps[None]:
        """Note where matches of a pattern begin, which have at most MAX_MARK characters; `LongPart.is_marked` tells."""
        for start in range(0, len(self.text), STEP_CHARACTERS):
            end = start + STEP_CHARACTERS
            for found in pattern.finditer(self.text, start, end + MAX_MARK - 1):
                if found.start() < end:
                    self._marks.append(found.start())
            yield

    def is_marked(self, start: int, end: int) -> bool:
        """Whether a match begins between these places."""
        place = bisect_left(self._marks, start)
        return place < len(self._marks) and self._marks[place] < end

    def whole(self) -> "LongPart":
        """The whole text as a part of itself."""
        return LongPart(self, 0, len(self.text))

    def children(self, start: int, indexes: Sequence[int] = ()) -> Generator[Child | None, None, None]:
        """The members of the object, or the elements of the array, that begins at `start`; None after a step.

        With `indexes`, which are sorted, an array may leave out elements that have none of these.
        """
        text = self.text
        named = text[start] == "{"
        short, group = (_SHORT_MEMBER, 2) if named else (_SHORT_ELEMENT, 1)
        position = yield from _space_end(text, start + 1)
        wanted = iter(indexes)
        following = next(wanted, 0)
        index = alone = 0
        while text[position] not in "]}":
            if following - index >= _SKIPPED and not alone:
                skipped = _SHORT_ELEMENTS.match(text, position, position + STEP_CHARACTERS)
                if skipped:
                    index += _SKIPPED
                    yield None
                    position = yield from _space_end(text, skipped.end())
                    continue
                alone = _SKIPPED
            limit = position + STEP_CHARACTERS
            found = short.match(text, position, limit)
            if found and found.end() < limit:
                begin, end = found.span(group)
                position = found.end()
                yield (_name(found[1]) if named else index), begin, end
            else:
                key, begin, end = yield from self._long_child(position, index if not named else None)
                yield key, begin, end
                position = yield from _space_end(text, end)
                if text[position] == ",":
                    position = yield from _space_end(text, position + 1)
            if index >= following:
                following = next(wanted, 0)
            index += 1
            alone = max(0, alone - 1)

    def _long_child(self, position: int, index: int | None) -> Steps[Child]:
        """The child at a position: an element if it has an index, else a member."""
        if index is not None:
            return index, position, (yield from self._value_end(position))
        end = yield from _string_end(self.text, position)
        name = _name(self.text[position:end])
        colon = yield from _space_end(self.text, end)
        begin = yield from _space_end(self.text, colon + 1)
        return name, begin, (yield from self._value_end(begin))

    def _value_end(self, start: int) -> Steps[int]:
        text = self.text
        match text[start]:
            case '"':
                return (yield from _string_end(text, start))
            case "[" | "{":
                place = bisect_left(self._starts, start)
                if place < len(self._starts) and self._starts[place] == start:
                    return self._ends[place]
                return (yield from _short_end(text, start))
            case _:
                position = start
                while True:
                    position = _ATOM.match(text, position, position + STEP_CHARACTERS).end()  # type: ignore[union-attr]
                    if position == len(text) or text[position] in ",]} \t\n\r":
                        return position
                    yield


class LongPart(NamedTuple):
    """A part of a long text, from `start` to `end`. It has no text of its own."""

    layout: Layout
    start: int
    end: int

    @property
    def text(self) -> JsonText:
        """The text of the part: a copy."""
        return self.layout.text[self.start : self.end]

    def begins_with(self, character: str) -> bool:
        """Whether the text begins with this character."""
        return self.layout.text[self.start] == character

    def part(self, child: Child) -> "Part":
        """A child of this object or array: a text, or a span if it is a long object or array."""
        _, start, end = child
        text = self.layout.text
        if end - start >= SHORT and text[start] in "[{":
            return LongPart(self.layout, start, end)
        return text[start:end]


Part: TypeAlias = JsonText | LongPart
"""A JSON value: its text, or its place in a long text."""


def _run_end(text: JsonText, position: int) -> int:
    """Where a run of whole strings, short objects and arrays, and anything between them ends."""
    found = _RUN.match(text, position, position + STEP_CHARACTERS)
    assert found is not None
    return found.end()


def _space_end(text: JsonText, position: int) -> Steps[int]:
    while text[position] in " \t\n\r":
        position = _WHITE_SPACE.match(text, position, position + STEP_CHARACTERS).end()  # type: ignore[union-attr]
        if position == len(text) or text[position] not in " \t\n\r":
            break
        yield
    return position


def _string_end(text: JsonText, start: int) -> Steps[int]:
    position = start + 1
    while True:
        # What is plain is passed by searches, many times faster than by the pattern.
        limit = position + SEARCHED_CHARACTERS
        end = text.find('"', position, limit)
        if text.find("\\", position, limit if end < 0 else end) < 0:
            if end >= 0:
                return end + 1
            position = limit
            yield
            continue
        position = _CHARACTERS.match(text, position, position + STEP_CHARACTERS).end()  # type: ignore[union-attr]
        if text[position] == '"':
            return position + 1
        if text[position] == "\\":
            # The step ends between the two characters of an escape.
            position += 2
        yield


def _short_end(text: JsonText, start: int) -> Steps[int]:
    """Where an object or array ends that is short, but may nest deeply."""
    found = _SHORT_CONTAINER.match(text, start, start + STEP_CHARACTERS)
    if found:
        return found.end()
    depth, position, work = 1, start + 1, 0
    while depth:
        before = position
        position = _run_end(text, position)
        match text[position]:
            case "[" | "{":
                depth, position = depth + 1, position + 1
            case "]" | "}":
                depth, position = depth - 1, position + 1
            case '"':
                position = yield from _string_end(text, position)
        work += position - before + _BRACKET_WORK
        if work >= STEP_CHARACTERS:
            work = 0
            yield
    return position


def _name(text: JsonText) -> str:
    return _DECODER.decode(text) if "\\" in text else text[1:-1]
