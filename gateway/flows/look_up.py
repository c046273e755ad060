"""Looking up many parts of one long JSON value in a single pass."""

from collections.abc import Iterable
from typing import Final, TypeAlias

from gateway.core.json_layout import Layout, Steps
from gateway.core.model import JsonText

Key: TypeAlias = str | int
"""The position of a value in the one around it: the name of a member, or an index."""

PathKeys: TypeAlias = tuple[Key, ...]
"""The keys from a value to a part of it."""

_STEP: Final = 128
"""How many paths or children a step looks at."""

_TREE: Final = 1 << 16
"""How many keys are looked for in one pass: the tree of them takes memory."""


class _Wanted:
    """What is wanted of a part: whether its own place is, by its keys, and its children."""

    __slots__ = ("children", "keys")

    def __init__(self) -> None:
        self.keys: PathKeys | None = None
        self.children: dict[Key, _Wanted] | None = None

    def child(self, key: Key) -> "_Wanted":
        """The child with this key, which is wanted, too."""
        if self.children is None:
            self.children = {}
        child = self.children.get(key)
        if child is None:
            child = self.children[key] = _Wanted()
        return child


class Places:
    """Where parts of a long value begin and end, by their keys; None for parts that do not exist."""

    __slots__ = ("_layout", "_text", "found")

    def __init__(self, text: JsonText) -> None:
        self.found: dict[PathKeys, tuple[int, int] | None] = {}
        self._text = text
        self._layout: Layout | None = None

    def look_up(self, paths: Iterable[PathKeys]) -> Steps[None]:
        """Find the parts at the ends of these keys. A member with a repeated name is the last one."""
        if self._layout is None:
            self._layout = yield from Layout.of(self._text)
        wanted, size = _Wanted(), 0
        for number, keys in enumerate(paths):
            part = wanted
            for key in keys:
                part = part.child(key)
            part.keys = keys
            self.found[keys] = None
            size += len(keys)
            if size > _TREE:
                yield from self._find(self._layout, wanted)
                wanted, size = _Wanted(), 0
            if number % _STEP == _STEP - 1:
                yield
        yield from self._find(self._layout, wanted)

    def _find(self, layout: Layout, whole: _Wanted) -> Steps[None]:
        """Find what is wanted of the whole value, in one pass over the parts on the way."""
        open_parts = [(0, len(self._text), whole)]
        while open_parts:
            start, end, wanted = open_parts.pop()
            if wanted.keys is not None:
                self.found[wanted.keys] = start, end
            kind = {"{": str, "[": int}.get(self._text[start])
            children = {key: child for key, child in (wanted.children or {}).items() if kind and isinstance(key, kind)}
            if children:
                places = yield from _places(layout, start, children)
                open_parts += [(*place, children[key]) for key, place in places.items()]
            yield


def _places(layout: Layout, start: int, wanted: dict[Key, _Wanted]) -> Steps[dict[Key, tuple[int, int]]]:
    """The places of the wanted children of the object or array that begins at `start`, by key."""
    places: dict[Key, tuple[int, int]] = {}
    indexes = sorted(key for key in wanted if isinstance(key, int))
    for number, child in enumerate(layout.children(start, indexes)):
        if child is not None:
            key, begin, end = child
            if key in wanted:
                places[key] = begin, end
            if indexes and key == indexes[-1]:
                break
        if child is None or number % _STEP == _STEP - 1:
            yield
    return places
