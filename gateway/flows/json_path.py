"""Paths into JSON values, as expressions write them."""

import re
from typing import NamedTuple

from gateway.core.errors import MAX_NAME_CHARACTERS, shortened
from gateway.flows.look_up import Key, PathKeys

_PATH_PART = re.compile(
    r"""\.(?P<name>[^.\[]*)|\[\s*(?:(?P<index>[0-9]{1,18})|"(?P<double>[^"]*)"|'(?P<single>[^']*)')\s*\]"""
)


MAX_KEYS = 1_000
"""How many keys a path may have. No value nests more deeply."""


class JsonPath(NamedTuple):
    """A path into a JSON value: its keys. Without keys it is the whole value."""

    keys: PathKeys

    @property
    def text(self) -> str:
        """The path as messages name it; the beginning of a long one."""
        text = "$"
        for key in self.keys:
            if len(text) > MAX_NAME_CHARACTERS:
                break
            text += f"[{key}]" if isinstance(key, int) else f".{shortened(key)}"
        return shortened(text)


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
        if len(keys) > MAX_KEYS:
            raise ValueError(f"a path of more than {MAX_KEYS:,} keys")
    return JsonPath(tuple(keys))


WHOLE = JsonPath(())
"""The path `$`."""
