"""Text that comes from elsewhere, as lines of a log may have it: short, and without what could forge or steer them."""

from typing import Final

_INDENT: Final = "    "


def harmless(text: str, *, lines: bool = False) -> str:
    """A text whose control characters are escaped, for a log or a terminal. Tabs stay, and `lines` lets lines end."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character == "\t" or (lines and character == "\n")
        else _escape(character)
        for character in text
    )


def one_entry(text: str) -> str:
    """A harmless text that cannot begin a line of its own: only lines that are indented already stay lines."""
    if text.isprintable():
        return text
    first, *more = text.split("\n")
    shown = harmless(first)
    for line in more:
        shown += f"\n{harmless(line)}" if line.startswith(_INDENT) else f"\\n{harmless(line)}"
    return shown


def indented(text: str) -> str:
    """A harmless text of several lines, each of which is indented."""
    return "\n".join(f"{_INDENT}{harmless(line)}" for line in text.split("\n"))


def shortened(text: str, longest: int, *, end: bool = False) -> str:
    """The beginning of a text that is too long, or with `end`, both of its ends."""
    left_out = len(text) - longest
    if left_out <= 0:
        return text
    if end:
        return f"{text[: longest // 3]} ... ({left_out:,} characters) ... {text[-(longest - longest // 3) :]}"
    return f"{text[:longest]} ... ({left_out:,} more characters)"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
