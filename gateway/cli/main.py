"""The command line: which commands there are, and how they end."""

import atexit
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Never

from cyclopts import App, CycloptsError, Parameter

from gateway.cli import flows, runs, servers
from gateway.cli.errors import CommandError, ExitCode
from gateway.cli.lines import OutputError, open_output, print_error

app = App(
    name="runs-gateway",
    help="The runs methods of a workflow runtime over gRPC and JSON-RPC: a server, and the commands to use it.",
    version=lambda: version("runs-gateway"),
    default_parameter=Parameter(negative=""),
    suppress_keyboard_interrupt=False,
    help_epilogue=(
        "Exit codes: 0 success, 1 error, 2 invalid use or parameter, 3 not found, 4 gateway unavailable, "
        "5 the awaited run failed or was cancelled, 6 the awaited run has not finished in time, 130 Ctrl-C."
    ),
)
for _command in (servers.serve, servers.bridge, flows.put, runs.submit, runs.get, runs.watch):
    app.command(_command)


def main() -> None:
    """The console script: run the command line and exit."""
    if sys.stdout is None:
        print_error("standard output is closed")
        sys.exit(ExitCode.ERROR)
    sys.stdout = open_output(sys.stdout)
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except OutputError as error:
        code = _output_lost(error)
    except BrokenPipeError:
        # An error could not be printed.
        code = ExitCode.BROKEN_PIPE
    _end_process(code)


def _end_process(code: int) -> Never:
    """End without taking apart what the process holds: of a gateway with a large state in memory, that takes seconds.

    Everything has been closed in order by then.
    """
    atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are printed."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print_error(f"{error} (see {' '.join([*app.name, *(error.command_chain or ())])} --help)")
        return ExitCode.USAGE
    except CommandError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.OK


def _output_lost(error: OutputError) -> ExitCode:
    if error.reader_has_gone:
        return ExitCode.BROKEN_PIPE
    print_error(str(error))
    return ExitCode.ERROR
