"""The file of the conformance kit's report for CI systems."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gateway.cli.errors import CommandError, ExitCode, UsageError

if TYPE_CHECKING:
    from gateway.conformance.conduct import TriedPromise
    from gateway.conformance.promise import Promise


class Report:
    """An open file, for what comes of promises."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        # A pipe or a terminal cannot take back what it got.
        self.rewritable = stat.S_ISREG(os.fstat(file.fileno()).st_mode)

    def write(self, tried: Sequence["TriedPromise"]) -> None:
        """Write the report, in place of an earlier one. Raises CommandError if that fails."""
        from gateway.conformance.junit_report import junit_of

        text = junit_of(tried)
        left = memoryview(text)
        try:
            if self.rewritable:
                self._file.seek(0)
            while left:
                left = left[self._file.write(left) :]
            if self.rewritable:
                # Only now: whatever ends this process, the file is never empty.
                self._file.truncate(len(text))
        except OSError as error:
            raise CommandError(f"--junit: {self._path}: {error.strerror}", ExitCode.USAGE) from None


@contextmanager
def opened_report(path: Path, promises: Sequence["Promise"]) -> Iterator[Report]:
    """A report that can be written when all is tried, and has nothing of an earlier test.

    Until then a file says that none of the `promises` was tried. Raises UsageError if it cannot be opened, and
    CommandError if it cannot be written.
    """
    from gateway.conformance.conduct import none_tried

    try:
        # It is created, but what it has stays until there is something in place of that.
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb", buffering=0)
    except OSError as error:
        raise UsageError(f"--junit: {path}: {error.strerror}") from None
    with file:
        report = Report(path, file)
        if report.rewritable:
            report.write(none_tried(promises, "the kit has ended before"))
        yield report
