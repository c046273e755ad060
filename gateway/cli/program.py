"""The command line: which commands there are, and how they end."""

import atexit
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Never

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from gateway.cli import about
from gateway.cli.errors import CommandError, ExitCode, UsageError
from gateway.cli.lines import OutputError, open_null, open_output, print_error

app = App(
    name=about.PROGRAM,
    help="The runs methods of a workflow runtime over gRPC and JSON-RPC: a server, and the commands to use it.",
    version=about.program_version,
    default_parameter=Parameter(negative=""),
    suppress_keyboard_interrupt=False,
    help_epilogue=(
        "Exit codes: 0 success, 1 error, 2 invalid use or parameter, 3 not found, 4 gateway unavailable, "
        "5 an awaited run failed or was cancelled, 6 the awaited run has not finished in time, 130 Ctrl-C. "
        "'serve' and 'bridge' stop in order on Ctrl-C, and end with 0."
    ),
)
# A command is imported when it is used: settings, for one, take longer to import than a run to be read.
for _command in (
    "servers:serve",
    "servers:bridge",
    "flows:put",
    "flow_check:check",
    "runs:submit",
    "runs:get",
    "watching:watch",
    "items:items",
    "tree:tree",
    "top:top",
    "endings:cancel",
    "endings:delete",
    "state_file:prune",
    "state_file:backup",
    "health:health",
):
    app.command(f"gateway.cli.{_command}")
app.command("gateway.cli.lists:list_runs", name="list")
app.command("gateway.cli.tokens:app", name="token")
app.command("gateway.cli.temporal:app", name="temporal")
app.command("gateway.cli.conformance:conformance")
app.command(about.version)
about.add_completion(app)


def run_and_exit() -> Never:
    """Run the command line of this process, and end it."""
    _open_missing()
    try:
        if sys.stdout is None:
            print_error("standard output is closed")
            _end_process(ExitCode.ERROR)
        sys.stdout = open_output(sys.stdout)
        code = run([_in_utf_8(argument) for argument in sys.argv[1:]])
        sys.stdout.flush()
    except OutputError as error:
        code = _output_lost(error)
    except BrokenPipeError:
        # An error could not be printed.
        code = ExitCode.BROKEN_PIPE
    _end_process(code)


def _open_missing() -> None:
    """Open standard input and standard error if they are closed: a file of ours must not get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, so this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open_null()


def _in_utf_8(argument: str) -> str:
    """An argument as text in UTF-8, also in a locale of ASCII; unchanged if it is none, as a name of a file may be."""
    try:
        return os.fsencode(argument).decode() if not argument.isascii() else argument
    except UnicodeDecodeError:
        return argument


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
    if not arguments or arguments[0] in app.help_flags:
        app.resolved_commands()  # The help of all tells what each of them does.
    elif arguments[0] in app.version_flags and len(arguments) > 1:
        print_error(f"unexpected argument: {arguments[1]!r} {_see_help(())}")
        return ExitCode.USAGE
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print_error(f"{_words(error)} {_see_help(error.command_chain or ())}")
        return ExitCode.USAGE
    except UsageError as error:
        print_error(f"{error} {_see_help(app.parse_commands(arguments)[0])}")
        return error.exit_code
    except CommandError as error:
        print_error(str(error))
        return error.exit_code
    except UnicodeEncodeError as error:
        print_error(f"not text in UTF-8: {error.object!r}")
        return ExitCode.USAGE
    return code if isinstance(code, int) else ExitCode.OK


def _words(error: CycloptsError) -> str:
    """What is wrong with a command line, without a full stop."""
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected argument: {(error.unused_tokens or [''])[0]!r}"
    return str(error).removesuffix(".")


def _see_help(commands: Sequence[str]) -> str:
    return f"(see {' '.join([about.PROGRAM, *commands])} --help)"


def _output_lost(error: OutputError) -> ExitCode:
    if error.loss is not None or not error.reader_has_gone:
        print_error(str(error))
    return ExitCode.BROKEN_PIPE if error.reader_has_gone else ExitCode.ERROR
