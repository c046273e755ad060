"""The file of the conformance kit's report for CI systems."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gateway.cli.errors import CommandError, ExitCode, UsageError

if TYPE_CHECKING:
    from gateway.conformance.conduct import TriedPromise


class Report:
    """An open file, for what comes of promises."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    def write(self, tried: Sequence["TriedPromise"]) -> None:
        """Write the report. Raises CommandError if that fails."""
        from gateway.conformance.junit_report import junit_of

        left = memoryview(junit_of(tried))
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise CommandError(f"--junit: {self._path}: {error.strerror}", ExitCode.USAGE) from None


@contextmanager
def opened_report(path: Path) -> Iterator[Report]:
    """A report that can be written when all is tried, and has nothing of an earlier test.

    Raises UsageError if the file cannot be opened.
    """
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise UsageError(f"--junit: {path}: {error.strerror}") from None
    with file:
        yield Report(path, file)
