"""The commands of `runs-gateway`."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from gateway import config
from gateway.adapter.validation import validated
from gateway.cli import output
from gateway.cli.calls import Client, connect
from gateway.cli.documents import read_flow, read_inputs
from gateway.cli.errors import CommandError, ExitCode
from gateway.config import ServeConfig
from gateway.errors import InvalidParams
from gateway.model import GetParams, Message, ResultOrder, RunState, RunStatus, SubmitParams

M = TypeVar("M", bound=Message)

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

AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON, one value a line.")]
Address = Annotated[
    str, Parameter(name="--address", env_var="RUNS_GATEWAY_ADDRESS", help="The gRPC address: HOST:PORT or unix:/PATH.")
]
Timeout = Annotated[float | None, Parameter(validator=Number(gte=0), help="Wait for so many seconds at most.")]
Concurrency = Annotated[int | None, Parameter(validator=Number(gte=1, lt=2**32))]
DEFAULT_ADDRESS = str(ServeConfig.model_fields["grpc_address"].default)


def _setting(name: str) -> Parameter:
    """A flag that sets a setting: unset, it leaves the setting to the environment and the file."""
    return Parameter(show_default=lambda _: getattr(ServeConfig(), name))


def main() -> None:
    """The console script: run the command line and exit."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at exit, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.BROKEN_PIPE
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are printed."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        output.print_error(f"{error} (see runs-gateway --help)")
        return ExitCode.USAGE
    except CommandError as error:
        output.print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.OK


@app.command
def serve(
    *,
    grpc_address: Annotated[str | None, _setting("grpc_address")] = None,
    http_address: Annotated[str | None, _setting("http_address")] = None,
    state: Annotated[str | None, _setting("state")] = None,
    component: list[str] | None = None,
    component_env: list[str] | None = None,
    max_message_bytes: Annotated[int | None, _setting("max_message_bytes")] = None,
    max_calls: Annotated[int | None, _setting("max_calls")] = None,
    max_waiting_calls: Annotated[int | None, _setting("max_waiting_calls")] = None,
    config_file: Annotated[Path | None, Parameter(name="--config", env_var="RUNS_GATEWAY_CONFIG")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Each setting can also be given in the environment, as RUNS_GATEWAY_ and its name in capitals, and in a file. A flag
    counts more than the environment, and the environment more than the file.

    Parameters
    ----------
    grpc_address
        Where to serve gRPC: HOST:PORT, where port 0 takes a free one, or unix:/PATH.
    http_address
        Where to serve JSON-RPC and the blob API, likewise.
    state
        The file that keeps flows, runs and results; ':memory:' keeps nothing.
    component
        PREFIX=URL or PREFIX='COMMAND ...': where components under a path prefix are found. May be repeated.
    component_env
        NAME=VALUE: the environment of component servers that are started by command. May be repeated.
    max_message_bytes
        The largest message.
    max_calls
        How many gRPC calls that do not wait for a run may be open at the same time.
    max_waiting_calls
        How many gRPC calls that wait for a run, and how many HTTP requests, may be open at the same time.
    config_file
        A file of settings, TOML or YAML.
    """
    flags: dict[str, Any] = {
        "grpc_address": grpc_address,
        "http_address": http_address,
        "state": state,
        "components": _assignments("--component", component),
        "component_env": _assignments("--component-env", component_env),
        "max_message_bytes": max_message_bytes,
        "max_calls": max_calls,
        "max_waiting_calls": max_waiting_calls,
    }
    try:
        given = {name: value for name, value in flags.items() if value is not None}
        settings = config.load(given, os.environ, config_file)
    except config.ConfigError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    # The other commands do not need the server, and would take longer to import it than to do their work.
    from gateway.cli import serving

    serving.serve(settings, as_json=as_json)


@app.command
def put(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Store a flow and print its id.

    Parameters
    ----------
    file
        The flow, in YAML or JSON; '-' is standard input.
    """
    flow = read_flow(file)
    with connect(address) as client:
        flow_id = client.put_flow(flow)
    if as_json:
        output.print_json(output.object_json(flowId=flow_id))
    else:
        output.print_line(flow_id)


@app.command
def submit(
    flow_id: str,
    /,
    *,
    input_: Annotated[list[str] | None, Parameter(name="--input", allow_leading_hyphen=True)] = None,
    inputs: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    wait: bool = False,
    timeout: Timeout = None,
    max_concurrency: Concurrency = None,
    overrides: str | None = None,
    variable: list[str] | None = None,
    label: str | None = None,
    idempotency_key: str | None = None,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> int:
    """Submit a run and print its id; with --wait, its state and results when it has finished.

    Parameters
    ----------
    flow_id
        The flow: the id that 'put' printed.
    input_
        The input of one item, as JSON. May be repeated.
    inputs
        A file with the inputs: a JSON array, or one JSON value a line; '-' is standard input.
    wait
        Wait until the run has finished.
    max_concurrency
        How many items may execute at the same time.
    overrides
        Changes to the flow's steps for this run, as a JSON object.
    variable
        NAME=JSON: the value of a variable of the flow. May be repeated.
    label
        A label for this run.
    idempotency_key
        Makes it safe to repeat the command: the same key and parameters give the same run.
    """
    if (input_ is None) == (inputs is None):
        raise CommandError("give either --input or --inputs (see runs-gateway submit --help)", ExitCode.USAGE)
    params = {
        "flow_id": flow_id,
        "inputs": input_ if inputs is None else read_inputs(inputs),
        "max_concurrency": max_concurrency,
        "overrides": overrides,
        "variables": _assignments("--variable", variable) or {},
        "flow_label": label,
        "idempotency_key": idempotency_key,
    }
    with connect(address) as client:
        status = client.submit(_checked(SubmitParams, params))
        if wait:
            waiting = {"run_id": status.run_id, "wait": True, "include_results": True, "timeout": timeout}
            return _print_run(client, _checked(GetParams, waiting), as_json)
    if as_json:
        output.print_status_json(status)
    else:
        output.print_line(status.run_id)
    return ExitCode.OK


@app.command
def get(
    run_id: str,
    /,
    *,
    wait: bool = False,
    timeout: Timeout = None,
    results: bool = False,
    order: ResultOrder = ResultOrder.BY_INDEX,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> int:
    """Print the state of a run.

    Parameters
    ----------
    run_id
        The run: the id that 'submit' printed.
    wait
        Wait until the run has finished.
    results
        Print the results of finished items as well.
    order
        The order of the results.
    """
    params = {"run_id": run_id, "wait": wait, "timeout": timeout, "include_results": results, "result_order": order}
    with connect(address) as client:
        return _print_run(client, _checked(GetParams, params), as_json)


@app.command
def watch(run_id: str, /, *, address: Address = DEFAULT_ADDRESS, as_json: AsJson = False) -> int:
    """Follow a run until it has finished: a progress bar on a terminal, otherwise a line of JSON for each update.

    Parameters
    ----------
    run_id
        The run: the id that 'submit' printed.
    """
    with connect(address) as client:
        updates = client.follow(_checked(GetParams, {"run_id": run_id, "wait": True}))
        if sys.stdout.isatty() and not as_json:
            last = output.show_progress(updates)
        else:
            last = None
            for last in updates:
                output.print_status_json(last)
    return _awaited(last)


def _print_run(client: Client, params: GetParams, as_json: bool) -> int:
    status = client.get(params)
    if as_json:
        output.print_status_json(status)
    else:
        output.print_status(status)
    return _awaited(status) if params.wait else ExitCode.OK


def _awaited(status: RunStatus | None) -> ExitCode:
    """What a command ends with that waited for a run."""
    if status is None or not status.status.terminal:
        return ExitCode.RUN_UNFINISHED
    return ExitCode.OK if status.status is RunState.SUCCESS else ExitCode.RUN_FAILED


def _checked(model: type[M], fields: Mapping[str, object]) -> M:
    try:
        return validated(model, fields)
    except InvalidParams as error:
        raise CommandError(error.message, ExitCode.USAGE) from None


def _assignments(flag: str, texts: Iterable[str] | None) -> dict[str, str] | None:
    """The names and values of a flag that is given as NAME=VALUE."""
    if texts is None:
        return None
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandError(f"{flag}: expected NAME=VALUE, got {text!r}", ExitCode.USAGE)
        pairs[name] = value
    return pairs
