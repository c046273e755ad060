"""How a command fails: with one line, and an exit code that tells programs what kind of failure it was."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of `runs-gateway`."""

    OK = 0
    ERROR = 1
    """Anything that has no code of its own."""
    USAGE = 2
    """The command line, a file or a parameter is not valid."""
    NOT_FOUND = 3
    """There is no such run, flow or blob."""
    UNAVAILABLE = 4
    """The gateway cannot be reached, or cannot serve the call now."""
    RUN_FAILED = 5
    """The command waited, and the run failed or was cancelled."""
    RUN_UNFINISHED = 6
    """The command waited for as long as it was told to, and the run goes on."""
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """Nobody reads the output any more."""


class CommandError(Exception):
    """A command that cannot be carried out; the message is one line for people."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code
