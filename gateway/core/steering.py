"""Characters that steer a terminal, which obeys them, or shows the text after them in another order.

They are control characters, ends of lines that only some readers know, and the marks of bidirectional text. Characters
that join letters or emojis are none: texts in many languages have them.
"""

import re
from typing import Final

STEERING: Final = "\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u206f\\ufeff\\ufff9-\\ufffb"
"""All of them, as a class of a regular expression has them within its brackets."""

_ANY: Final = re.compile(f"[{STEERING}]")
_BUT_LAYOUT: Final = re.compile(f"(?![\\t\\n])[{STEERING}]")


def without_steering(text: str, *, layout: bool = False) -> str:
    """A text with a replacement character for each that steers. With `layout`, line feeds and tabs stay."""
    return (_BUT_LAYOUT if layout else _ANY).sub("\N{REPLACEMENT CHARACTER}", text)


def escaped_steering(text: str) -> str:
    """JSON text in which they are escaped, which means the same; white space between values stays."""
    return _BUT_LAYOUT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
