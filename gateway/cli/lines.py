"""Prints lines of text. Importing it is cheap, so each command can report an error at once."""

import sys

_CONTROL_CHARACTERS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\N{REPLACEMENT CHARACTER}")


def print_line(text: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_error(message: str) -> None:
    """Print a line about what went wrong, to standard error."""
    sys.stderr.write(f"error: {printable(message)}\n")


def printable(text: str) -> str:
    """Text on one line, without characters that could steer a terminal."""
    return " ".join(text.split()).translate(_CONTROL_CHARACTERS)
