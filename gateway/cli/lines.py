"""Prints lines of text. Importing it is cheap, so each command can report an error at once."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from gateway.core.steering import without_steering

_ESCAPES = "runs-gateway.escapes"


class OutputError(Exception):
    """The output cannot be written. The message is one line for people."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"cannot write the output: {cause.strerror}")
        self.reader_has_gone = cause.errno == errno.EPIPE
        self.loss: str | None = None
        """What is found nowhere else, so that also a reader that has gone is no reason to keep silent."""

    def __str__(self) -> str:
        return super().__str__() if self.loss is None else f"{super().__str__()} ({self.loss})"


class _OutputFile(io.FileIO):
    """Raises OutputError once if it cannot be written, and then drops the rest: it is flushed again at exit."""

    _lost = False

    def write(self, data: Any, /) -> int:
        if not self._lost:
            try:
                return super().write(data)
            except OSError as error:
                self._lost = True
                raise OutputError(error) from None
        return len(data)


def open_output(stdout: TextIO) -> TextIO:
    """Return a file that writes to the same place as `stdout`, and raises OutputError if that fails.

    An OSError would not tell that it is about the output. Characters that the locale does not have are written as JSON
    escapes them: in JSON they mean the same.
    """
    stdout.flush()
    codecs.register_error(_ESCAPES, _escaped)
    file = io.BufferedWriter(_OutputFile(stdout.fileno(), "w", closefd=False))
    return io.TextIOWrapper(
        file, encoding=stdout.encoding, errors=_ESCAPES, line_buffering=getattr(stdout, "line_buffering", False)
    )


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Handle characters that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


def print_line(text: str) -> None:
    """Print a line, at once. It may have several; on a terminal, nothing in it steers that."""
    sys.stdout.write(f"{_as_shown_by(sys.stdout, text)}\n")
    sys.stdout.flush()


def print_notice(text: str) -> None:
    """Print a line beside the output, to standard error: nobody need be able to read it.

    Raises BrokenPipeError if its reader has gone.
    """
    try:
        sys.stderr.write(f"{_as_shown_by(sys.stderr, text)}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        raise
    except OSError:
        # What was not written would be written again at exit.
        sys.stderr = open_null()


def print_error(message: str) -> None:
    """Print a line about what went wrong, to standard error."""
    print_notice(f"error: {printable(message)}")


@contextmanager
def not_to_be_lost(words: str) -> Iterator[None]:
    """Have the error say what the block prints if that cannot be written."""
    try:
        yield
    except OutputError as error:
        error.loss = words
        raise


def open_null() -> TextIO:
    """Return a file that drops what is written."""
    return open(os.devnull, "w", encoding="utf-8")


def printable(text: str) -> str:
    """Text on one line, without characters that could steer a terminal."""
    return without_steering(" ".join(text.split()))


def _as_shown_by(file: TextIO, text: str) -> str:
    return without_steering(text, layout=True) if file.isatty() else text
