"""Finds the place where a text stops being JSON, or UTF-8, for people who have the text before them."""

import re

from gateway.core.errors import InvalidParams, TooLarge
from gateway.core.json_text import json_text

_TRAILING = "not a JSON value: trailing characters"
_POSITION = re.compile(r" \((byte|character) (\d+)\)$")


def json_problem(text: str, *, first_line: int = 1) -> str | None:
    """Why `text` is not one JSON value, after the line and column, counted from 1; None if it is one.

    `first_line` is the number of its first line.
    """
    try:
        json_text(text)
    except TooLarge as error:
        return error.message
    except InvalidParams as error:
        problem = error.message
    else:
        return None
    position = _POSITION.search(problem)
    if position is None:
        # It has ended too early, or nests too deeply.
        return f"{place_of(text, len(text.rstrip()), first_line=first_line)}: {problem}"
    index = int(position[2])
    if problem.startswith(_TRAILING):
        index -= 1  # The parser has read the character that is too much.
    if position[1] == "byte":
        index = len(text.encode(errors="replace")[:index].decode(errors="replace"))
    return f"{place_of(text, index, first_line=first_line)}: {problem[: position.start()]}"


def utf8_text(content: bytes) -> str:
    """The text that bytes are. Raises ValueError, which names the line and column, if they are not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        problem = f"not UTF-8 (byte 0x{content[error.start]:02x})"
    raise ValueError(f"{place_of(before, len(before))}: {problem}")


def place_of(text: str, index: int, *, first_line: int = 1) -> str:
    """The line and column of a character, as people count them: `line 3, column 5`."""
    line, column = line_and_column(text, index)
    return f"line {line + first_line - 1}, column {column}"


def line_and_column(text: str, index: int) -> tuple[int, int]:
    """The line and column of a character, counted from 1."""
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1
