"""The commands of `runs-gateway`."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from gateway.cli import output
from gateway.cli.documents import read_flow, read_inputs
from gateway.cli.errors import CommandError, ExitCode
from gateway.core.errors import GatewayError
from gateway.core.model import ResultOrder, RunState
from gateway.server.settings import ServeSettings, SettingsError, load, load_bridge

if TYPE_CHECKING:
    # Imported where it is needed: it brings grpc along, which takes longer than all the rest.
    from gateway.client import RunsClient, RunStatus

C = TypeVar("C")

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
PATIENCE = 60.0
"""For how many seconds a command that waits for a run looks for a gateway that has gone."""
_EXIT_CODES = {
    "INVALID_ARGUMENT": ExitCode.USAGE,
    "ALREADY_EXISTS": ExitCode.USAGE,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "UNAVAILABLE": ExitCode.UNAVAILABLE,
}
DEFAULT_ADDRESS = str(ServeSettings.model_fields["grpc_address"].default)


def _setting(name: str) -> Parameter:
    """A flag that sets a setting: unset, it leaves the setting to the environment and the file."""
    return Parameter(show_default=lambda _: getattr(ServeSettings(), name))


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
    runtime: Annotated[str | None, _setting("runtime")] = None,
    dialect: Annotated[Literal["document", "superset", "0.9", "0.10"] | None, _setting("dialect")] = None,
    lossy_numbers: bool | None = None,
    queue: str | None = None,
    max_tasks: Annotated[int | None, _setting("max_tasks")] = None,
    workers: Annotated[int | None, _setting("workers")] = None,
    transport: Annotated[Literal["grpcio", "native"] | None, _setting("transport")] = None,
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
        The file that keeps flows, runs and results, or just the idempotency keys if the runtime is elsewhere;
        ':memory:' keeps nothing.
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
    runtime
        What executes runs: 'embedded', this gateway; another one, at grpc://HOST:PORT or unix:/PATH; a server of the
        canonical methods, at jsonrpc+http://HOST:PORT/PATH; or a Stepflow engine, at stepflow+http://HOST:PORT.
    dialect
        What a server of the canonical methods speaks; unset, it is found out.
    lossy_numbers
        Round numbers that a Stepflow engine cannot hold exactly, as it does itself, rather than refuse them.
    queue
        Also be a bridge: the queue of the Stepflow engine whose tasks the component servers execute.
    max_tasks
        How many tasks of the queue may execute at the same time, but for those that wait for runs of their own.
    workers
        How many processes serve, on ports that they share; limits of calls are those of each.
    transport
        What speaks HTTP/2 for gRPC: 'grpcio', or 'native', which is faster (pip install 'runs-gateway[native]').
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
        "runtime": runtime,
        "dialect": dialect,
        "lossy_numbers": lossy_numbers,
        "queue": queue,
        "max_tasks": max_tasks,
        "workers": workers,
        "transport": transport,
    }
    settings = _loaded(load, flags, config_file)
    # The other commands do not need the server, and would take longer to import it than to do their work.
    from gateway.cli import serving

    serving.serve(settings, as_json=as_json)


@app.command
def bridge(
    *,
    engine: str | None = None,
    queue: str | None = None,
    gateway: str | None = None,
    component: list[str] | None = None,
    component_env: list[str] | None = None,
    max_tasks: Annotated[int | None, _setting("max_tasks")] = None,
    state: str | None = None,
    lossy_numbers: bool | None = None,
    http_address: str | None = None,
    config_file: Annotated[Path | None, Parameter(name="--config", env_var="RUNS_GATEWAY_CONFIG")] = None,
    as_json: AsJson = False,
) -> None:
    """Execute the tasks of a Stepflow engine on JSON-RPC component servers, until SIGTERM or Ctrl-C.

    For engines of release 0.12 and later, whose own components pull tasks over gRPC. Settings come from flags, the
    environment and a file, as for 'serve'. The first signal lets the bridge finish what it has begun, a second one
    ends it at once.

    Parameters
    ----------
    engine
        The engine: http://HOST:PORT.
    queue
        The queue to take tasks from: 'queueName' in the engine's configuration.
    gateway
        A gateway over the same engine that the runs of components go through: grpc://HOST:PORT or unix:/PATH. Bridges
        that name the same one share its idempotency keys: a task that another bridge executes again submits no run
        twice.
    component
        PREFIX=URL or PREFIX='COMMAND ...': where components under a path prefix are found. May be repeated.
    component_env
        NAME=VALUE: the environment of component servers that are started by command. May be repeated.
    max_tasks
        How many tasks may execute at the same time, but for those that wait for runs of their own.
    state
        The file that keeps which run each key of a component stands for, unless there is a gateway; ':memory:' keeps
        nothing.
    lossy_numbers
        Round numbers that the engine cannot hold exactly, as it does itself, rather than refuse them.
    http_address
        Where component servers reach the blob API: HOST:PORT, by default a free port of this machine.
    config_file
        A file of settings, TOML or YAML.
    """
    flags: dict[str, Any] = {
        "engine": engine,
        "queue": queue,
        "gateway": gateway,
        "components": _assignments("--component", component),
        "component_env": _assignments("--component-env", component_env),
        "max_tasks": max_tasks,
        "state": state,
        "lossy_numbers": lossy_numbers,
        "http_address": http_address,
    }
    settings = _loaded(load_bridge, flags, config_file)
    from gateway.cli import serving

    serving.bridge(settings, as_json=as_json)


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
    from gateway.client import Json

    texts = (input_ or []) if inputs is None else read_inputs(inputs)
    variables = _assignments("--variable", variable) or {}
    with connect(address) as client:
        status = client.submit(
            flow_id,
            [Json(text) for text in texts],
            max_concurrency=max_concurrency,
            overrides=None if overrides is None else Json(overrides),
            variables={name: Json(text) for name, text in variables.items()},
            flow_label=label,
            idempotency_key=idempotency_key,
        )
    if wait:
        with connect(address, patience=PATIENCE) as client:
            status = client.wait(status.run_id, include_results=True, timeout=timeout)
        return _print_run(status, as_json, waited=True)
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
    with connect(address) as client:
        if wait:
            status = client.wait(run_id, include_results=results, order=order, timeout=timeout)
        else:
            status = client.get(run_id, include_results=results, order=order)
    return _print_run(status, as_json, waited=wait)


@app.command
def watch(run_id: str, /, *, address: Address = DEFAULT_ADDRESS, as_json: AsJson = False) -> int:
    """Follow a run until it has finished: a progress bar on a terminal, otherwise a line of JSON for each update.

    A connection that is lost is made again, for a minute at most.

    Parameters
    ----------
    run_id
        The run: the id that 'submit' printed.
    """
    with connect(address) as client:
        # A gateway that is not there, or has no such run, is told at once.
        client.get(run_id)
    with connect(address, patience=PATIENCE) as client, closing(client.watch(run_id)) as updates:
        show = output.show_progress if sys.stdout.isatty() and not as_json else output.show_lines
        return _awaited(show(updates))


@contextmanager
def connect(address: str, *, patience: float = 0.0) -> "Iterator[RunsClient]":
    """Keep a connection to the gateway, made again for `patience` seconds; what fails in it is a CommandError."""
    from gateway.client import RunsClient

    with RunsClient(address, timeout=None, retry_for=patience) as client:
        try:
            yield client
        except GatewayError as error:
            raise CommandError(error.message, _EXIT_CODES.get(error.grpc_status, ExitCode.ERROR)) from None


def _print_run(status: "RunStatus", as_json: bool, *, waited: bool) -> int:
    if as_json:
        output.print_status_json(status)
    else:
        output.print_status(status)
    return _awaited(status) if waited else ExitCode.OK


def _awaited(status: "RunStatus") -> ExitCode:
    """What a command ends with that waited for a run."""
    if not status.finished:
        return ExitCode.RUN_UNFINISHED
    return ExitCode.OK if status.status is RunState.SUCCESS else ExitCode.RUN_FAILED


def _loaded(
    load: Callable[[Mapping[str, Any], Mapping[str, str], Path | None], C], flags: Mapping[str, Any], file: Path | None
) -> C:
    """The configuration; CommandError if it is not valid."""
    try:
        return load({name: value for name, value in flags.items() if value is not None}, os.environ, file)
    except SettingsError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None


def _assignments(flag: str, texts: Iterable[str] | None) -> dict[str, str] | None:
    """The names and values of a flag that is given as NAME=VALUE."""
    if texts is None:
        return None
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandError(f"{flag}: expected NAME=VALUE, got {text!r}", ExitCode.USAGE)
        if name in pairs:
            raise CommandError(f"{flag}: {name!r} is given twice; leave one out", ExitCode.USAGE)
        pairs[name] = value
    return pairs
