"""Paths into JSON values, as expressions write them."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from gateway.runtimes.embedded.values import Key, Value

_PATH_PART = re.compile(
    r"""\.(?P<name>[^.\[]*)|\[\s*(?:(?P<index>[0-9]{1,18})|"(?P<double>[^"]*)"|'(?P<single>[^']*)')\s*\]"""
)


class JsonPath(NamedTuple):
    """A path into a JSON value: its keys, and its text for messages. Without keys it is the whole value."""

    keys: tuple[Key, ...]
    text: str

    def find(self, value: Value) -> Value | None:
        """Return the part at the path; None if it does not exist. Raises ItemFailure as `Value.get` does."""
        for key in self.keys:
            part = value.get(key)
            if part is None:
                return None
            value = part
        return value


def parse_path(text: str) -> JsonPath:
    """Parse `$.a.b[0]['k']["k"]`. `$` is the whole value; `a.b` is short for `$.a.b`.

    Raises ValueError if the text is not a path.
    """
    text = text.strip()
    if not text.startswith("$"):
        text = f"$.{text}" if text else "$"
    keys: list[Key] = []
    position = 1
    while position < len(text):
        part = _PATH_PART.match(text, position)
        if part is None:
            raise ValueError(f"not a path from character {position + 1} on; a path is written $.name[0]['name']")
        position = part.end()
        name = next((name for name in part.group("name", "double", "single") if name is not None), None)
        if name is None:
            keys.append(int(part["index"]))
        elif name or part["name"] is None:
            keys.append(name)
    return path_of(keys)


def path_of(keys: Sequence[Key]) -> JsonPath:
    """The path that follows these keys."""
    return JsonPath(tuple(keys), "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys))


WHOLE = path_of(())
"""The path `$`."""
