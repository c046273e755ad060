"""Failures of commands: one line for people, and an exit code that tells programs the kind of failure."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of `runs-gateway`, but for that of Ctrl-C, which is in `interrupts`."""

    OK = 0
    ERROR = 1
    """Any failure without a code of its own."""
    USAGE = 2
    """The command line, a file or a parameter is not valid."""
    NOT_FOUND = 3
    """The run, flow or blob does not exist."""
    UNAVAILABLE = 4
    """The gateway cannot be reached, or cannot serve the call now."""
    RUN_FAILED = 5
    """The command waited, and the run failed or was cancelled."""
    RUN_UNFINISHED = 6
    """The timeout of the command passed, and the run goes on."""
    BROKEN_PIPE = 141
    """The reader of the output has gone."""


class CommandError(Exception):
    """A command failed. The message is one line for people."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(CommandError):
    """The flags or arguments of a command are not valid. The help of the command tells what is."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.USAGE)
