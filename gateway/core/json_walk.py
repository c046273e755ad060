"""Walking over a long JSON text, a window at a time: checking it, and finding commas on its outermost level.

A parser in C holds the interpreter for as long as a text is long. So a text is cut at commas, and each piece is made a
whole text again: with the brackets that are open before it, and those that close what is open after it. If all these
are well formed, the whole text is.

The commas of a level are found by trying: if the parser takes all up to the last comma of a window, that one is of the
level where the window began. Otherwise regular expressions find them, ten times slower, and skip what lies between
brackets.
"""

import re
from functools import cache
from typing import Any, AnyStr, Final, Generic, NamedTuple

import msgspec

from gateway.core.errors import InvalidParams
from gateway.core.json_text import what_is_wrong

WINDOW: Final = 8 << 10
"""How many characters a step looks at, about: a fraction of a millisecond."""

MOST_CONTINUED: Final = 3
"""How many bytes of a character of UTF-8 follow its first one at most."""

MAX_DEPTH: Final = 1_000
"""How many brackets may be open: more are beyond every parser."""

_CHECKED_AT_ONCE: Final = WINDOW // 2
_SKIPPED_LEVELS: Final = 4
"""How many levels of brackets a regular expression skips. Those of deeper ones are walked over one by one."""

_VALUE: Final = msgspec.json.Decoder(msgspec.Raw)
_SPECIAL: Final = ('"', "\\")
_COMMAS: Final = (",", "},", "],")
_STARTING: Final = (",", "[", "{", b",", b"[", b"{")
"""What an element or a member begins after."""
_AROUND: Final = {"[": (b"[", b"0]"), "{": (b"{", b'"":0}')}
_STRING: Final = r'"(?:[^"\\]++|\\.)*+"'
_PLACE: Final = re.compile(r"(?<=\(byte )\d+|(?<=\(character )\d+")
_LONE_OR_CUT: Final = 12
"""The length of a pair of escaped surrogates: what a window may cut off at the end of a part of a string."""


class _Patterns(NamedTuple, Generic[AnyStr]):
    """`items` ends after the last comma of a level in a window, `item` after the first one; `run` ends at the first
    bracket or quote that nothing in the window closes. `rest` is a part of a string, up to its end or the window's.
    """

    special: tuple[AnyStr, ...]
    """What ends a string, or escapes something in it."""
    commas: tuple[AnyStr, ...]
    """What a comma of a level may look like."""
    items: "re.Pattern[AnyStr]"
    item: "re.Pattern[AnyStr]"
    run: "re.Pattern[AnyStr]"
    rest: "re.Pattern[AnyStr]"
    opening: "re.Pattern[AnyStr]"
    closing: "re.Pattern[AnyStr]"
    brackets: "re.Pattern[AnyStr]"
    digits: "re.Pattern[AnyStr]"
    space: "re.Pattern[AnyStr]"


def _sources() -> list[str]:
    run = rf'(?:[^][{{}}"]++|{_STRING})*+'
    for _ in range(_SKIPPED_LEVELS):
        inner = rf"[\[{{]{run}[\]}}]"
        run = rf'(?:[^][{{}}"]++|{_STRING}|{inner})*+'
    item = rf'(?:[^][{{}}",]++|{_STRING}|{inner})*+,'
    high, low, digit = "[dD][89abAB]", "[dD][c-fC-F]", "[0-9a-fA-F]"
    escape = rf"\\u{high}{digit}{{2}}\\u{low}{digit}{{2}}|\\u(?!{high}){digit}{{4}}|\\[^u]"
    space = r"[ \t\n\r]*+"
    opening = rf"(?=([\[{{]))(?:\[|\{{{space}{_STRING}{space}:){space}"
    rest = rf'(?:[^"\\]++|{escape})*+'
    return [rf"(?:{item})*+", item, run, rest, opening, rf"(?:[]}}]{space})*+", r"[]}]", "[0-9]*+", space]


@cache
def _patterns(kind: type[str] | type[bytes]) -> Any:
    """The patterns for texts or for bytes."""
    sources = _sources()
    if kind is str:
        return _Patterns(_SPECIAL, _COMMAS, *(re.compile(source, re.DOTALL) for source in sources))
    special, commas = (tuple(sign.encode() for sign in signs) for signs in (_SPECIAL, _COMMAS))
    return _Patterns(special, commas, *(re.compile(source.encode(), re.DOTALL) for source in sources))


PART_OF_STRING: Final[re.Pattern[str]] = _patterns(str).rest
"""Matches a part of the inside of a string, up to its end or to an escape that is cut off."""


class JsonWalk(Generic[AnyStr]):
    """A walk over `text[start:stop]`, one JSON value.

    `position` is how far it has come; `cut` is the last place after a comma of the outermost level. Without
    `checked`, the text is an object or array that has been checked before.
    """

    def __init__(self, text: AnyStr, start: int, stop: int, *, checked: bool, every_comma: bool = False) -> None:
        self.position = start
        self.cut = -1
        self._text: AnyStr = text
        self._stop = stop
        self._patterns: _Patterns[AnyStr] = _patterns(type(text))
        self._every_comma = every_comma
        self._open: list[str] = []
        self._in_string = False
        self._checker: PieceChecker[AnyStr] | None = PieceChecker(text, start) if checked else None
        if not checked:
            self._enter(text[start : start + 1])
            self.position = self.cut = start + 1

    @property
    def finished(self) -> bool:
        """Whether the walk has come to the end of the text, all of which is well formed if it is checked."""
        return self.position >= self._stop

    def step(self) -> None:
        """Go on by about a window. Raises InvalidParams, without a path, if the text is malformed."""
        limit = min(self.position + WINDOW, self._stop)
        if self._in_string:
            self._step_in_string(limit)
        elif not self._step_over_items(limit):
            self._step_over_run(limit)
        if self.finished and self._checker:
            self._checker.check(self._stop, [])

    def _step_over_items(self, limit: int) -> bool:
        """Go on to the last comma of this level within the window. Return whether there is one."""
        if not self._open:
            return False
        # On the outermost level, what is longer than a window is a part of its own.
        one = len(self._open) == 1 and (self._every_comma or self.position != self.cut)
        place = self._parsed_end(limit) if not one else -1
        if place < 0:
            pattern = self._patterns.item if one else self._patterns.items
            found = pattern.match(self._text, self.position, limit)
            place = -1 if found is None else found.end()
        if place <= self.position:
            return False
        self.position = place
        if len(self._open) == 1:
            self.cut = self.position
        if self._checker and self.position - self._checker.start >= _CHECKED_AT_ONCE:
            self._checker.check(self.position, self._open)
        return True

    def _parsed_end(self, limit: int) -> int:
        """Where a comma of this level ends that is late in the window, as the parser tells; -1 if that did not work."""
        start = self.position
        if self._text[start - 1 : start] not in _STARTING:
            return -1
        before, after = _AROUND[self._open[-1]]
        tried = start
        for sign in self._patterns.commas:
            place = self._text.rfind(sign, start, limit) + len(sign)
            if place <= start or place == tried:
                continue
            tried = place
            try:
                _VALUE.decode(b"%b%b%b" % (before, _encoded(self._text[start:place]), after))
            except (msgspec.DecodeError, RecursionError):
                continue
            return place
        return -1

    def _step_over_run(self, limit: int) -> None:
        """Go on to the next bracket or string that does not end within the window, and into it or out of it."""
        start, end = self.position, _end(self._patterns.run, self._text, self.position, limit)
        self.position = end
        if end == limit:
            self._shorten(start, end)
            return
        sign = self._text[end : end + 1]
        if sign in ('"', b'"'):
            self._in_string = True
            self.position += 1
            if self._checker:
                self._checker.leave_out(end + 1)
        elif sign in ("]", "}", b"]", b"}"):
            self.position = _end(self._patterns.closing, self._text, end, limit)
            for _ in self._patterns.brackets.findall(self._text, end, self.position):
                if self._open:
                    self._open.pop()
        else:
            self._step_inside(end, limit)

    def _step_inside(self, start: int, limit: int) -> None:
        """Go on into brackets: into all that follow each other."""
        place, found = start, self._patterns.opening.match(self._text, start, limit)
        while found is not None:
            place = found.end()
            self._enter(found[1])
            found = self._patterns.opening.match(self._text, place, limit)
        if place == start:
            place += 1
            self._enter(self._text[start : start + 1])
        self.position = place

    def _enter(self, sign: AnyStr) -> None:
        self._open.append("[" if sign in ("[", b"[") else "{")
        if len(self._open) > MAX_DEPTH:
            raise RecursionError

    def _step_in_string(self, limit: int) -> None:
        start, end = self.position, self._end_of_plain(limit)
        if isinstance(self._text, bytes):
            # Only whole characters. What goes on for longer is not UTF-8, and may be of any length.
            least = max(start, limit - MOST_CONTINUED)
            while least < end == limit < self._stop and self._text[end] & 0xC0 == 0x80:
                end = limit = end - 1
        ends = self._text[end : end + 1] in ('"', b'"')
        if not ends and (end == start or limit - end >= _LONE_OR_CUT or limit == self._stop):
            # Neither the end nor what a window cuts off: a parser tells the mistake.
            end = min(end + _LONE_OR_CUT, self._stop)
        if self._checker:
            self._checker.check_string(start, end)
            self._checker.resume(end)
        self.position = end
        if ends:
            self._in_string = False
            self.position += 1

    def _end_of_plain(self, limit: int) -> int:
        """Where the well-formed part of a string ends that begins here: at the limit, or at what ends or breaks it."""
        for sign in self._patterns.special:
            if self._text.find(sign, self.position, limit) >= 0:
                return _end(self._patterns.rest, self._text, self.position, limit)
        return limit  # Nothing to look at more closely: a search is many times faster than the pattern.

    def _shorten(self, start: int, end: int) -> None:
        """Leave out a window of nothing but digits or white space, if it follows more of the same."""
        if self._checker is None or start - 2 < self._checker.start:
            return
        for pattern in (self._patterns.digits, self._patterns.space):
            if _end(pattern, self._text, start - 2, end) == end:
                self._checker.leave_out(start)
                self._checker.resume(end)


def _end(pattern: "re.Pattern[AnyStr]", text: AnyStr, start: int, stop: int) -> int:
    found = pattern.match(text, start, stop)
    assert found is not None  # Each of these patterns matches the empty text.
    return found.end()


class PieceChecker(Generic[AnyStr]):
    """Checks the pieces of a text. `start` is where the next one begins."""

    def __init__(self, text: AnyStr, start: int) -> None:
        self.start = start
        self._text: AnyStr = text
        self._opening = ""
        self._parts: list[tuple[int, AnyStr]] = []
        self._from = start

    def leave_out(self, place: int) -> None:
        """What follows a place, up to where `resume` says, is checked otherwise."""
        self._parts.append((self._from, self._text[self._from : place]))
        self._from = place

    def resume(self, place: int) -> None:
        """The piece goes on at a place."""
        self._from = place

    def check(self, place: int, opened: list[str]) -> None:
        """Check the piece that ends at a place, after a comma if brackets are open there, or at the end of the text."""
        self.leave_out(place)
        closing = "".join("]" if sign == "[" else "}" for sign in reversed(opened))
        if opened:
            closing = ("0" if opened[-1] == "[" else '"":0') + closing
        self._decode(self._opening, self._parts, closing)
        outer = "".join("[" if sign == "[" else '{"":' for sign in opened[:-1])
        self._opening = "" if not opened else outer + ("[0," if opened[-1] == "[" else '{"":0,')
        self._parts = []
        self.start = self._from = place

    def check_string(self, start: int, stop: int) -> None:
        """Check a part of the inside of a string."""
        self._decode('"', [(start, self._text[start:stop])], '"')

    def _decode(self, opening: str, parts: list[tuple[int, AnyStr]], closing: str) -> None:
        content = self._text[:0].join(part for _, part in parts)
        piece = b"%b%b%b" % (opening.encode(), _encoded(content), closing.encode())
        try:
            _VALUE.decode(piece)
        except msgspec.DecodeError as error:
            text = what_is_wrong(piece.decode(errors="replace"), str(error))
            lengths = [(start, len(part)) for start, part in parts]
            text = _PLACE.sub(lambda found: str(_source_place(int(found[0]) - len(opening), lengths)), text)
            raise InvalidParams.field(description=text) from None


def _source_place(place: int, parts: list[tuple[int, int]]) -> int:
    """The place in a text of one in a piece, which was put together of parts with these places and lengths."""
    start = 0
    for start, length in parts:  # noqa: B007 - the last one holds what is behind all.
        if place < length:
            break
        place -= length
    return start + max(place, 0)


def _encoded(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
