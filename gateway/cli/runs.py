"""The commands about one run: `submit` and `get`."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gateway.cli import output
from gateway.cli.connection import RETRY_SECONDS, connect
from gateway.cli.documents import read_inputs
from gateway.cli.errors import ExitCode, UsageError
from gateway.cli.forms import Form, OutputForm, form_of, print_value
from gateway.cli.gateway_flags import Gateway
from gateway.cli.interrupts import say_if_ended
from gateway.cli.lines import not_to_be_lost, print_line, print_notice
from gateway.cli.parameters import RunId, Timeout
from gateway.cli.run_options import Options, RunOptions
from gateway.core.model import JsonText, ResultOrder, RunState

if TYPE_CHECKING:
    from gateway.client import RunStatus, RunUpdate

Input = Annotated[
    list[str] | None,
    Parameter(name="--input", allow_leading_hyphen=True, help="The input of one item, as JSON. May be repeated."),
]
InputsFile = Annotated[
    Path | None,
    Parameter(
        allow_leading_hyphen=True,
        help="A file with the inputs: a JSON array, or one JSON value a line; '-' is standard input.",
    ),
]
FlowId = Annotated[str, Parameter(help="The flow: the id that 'put' printed.")]
Wait = Annotated[bool, Parameter(help="Wait until the run has finished.")]


def submit(
    flow_id: FlowId,
    /,
    *,
    input_: Input = None,
    inputs: InputsFile = None,
    wait: Wait = False,
    timeout: Timeout = None,
    options: Options = None,
    gateway: Gateway = None,
    form: Form = None,
) -> int:
    """Submit a run and print its id; with --wait, its state and results when it has finished."""
    chosen = form_of(form)
    texts = _inputs(input_, inputs)
    given = (options or RunOptions()).submit_options()
    from gateway.client import Json
    from gateway.client.outage import deadline_after, first_call_timeout, time_until

    deadline = deadline_after(timeout)
    with connect(gateway) as client:
        inputs_as_text = [Json(text) for text in texts]
        status = client.submit(flow_id, inputs_as_text, timeout=first_call_timeout(timeout), **given)
    # The id comes first: whatever happens now, the run can be found again.
    with not_to_be_lost(f"run {status.run_id}"):
        if wait:
            say_if_ended(f"run {status.run_id} goes on")
        _print_submitted(status, wait, chosen)
        sys.stdout.flush()
    return _wait(status.run_id, time_until(deadline), gateway, chosen) if wait else ExitCode.OK


def _print_submitted(status: "RunStatus", wait: bool, form: OutputForm) -> None:
    if form is not OutputForm.TABLE and wait:
        print_notice(f"run {status.run_id}")
    elif form is not OutputForm.TABLE:
        print_value(status.to_json(), form)
    elif wait:
        output.print_run_id(status.run_id)
    else:
        print_line(status.run_id)


def _wait(run_id: str, timeout: float | None, gateway: Gateway, form: OutputForm) -> int:
    """Print the state and the results of a run when it has finished, and show meanwhile how far it is."""
    from gateway.client.streams import Fold

    with connect(gateway, retry_for=RETRY_SECONDS) as client:
        if form is not OutputForm.TABLE or not sys.stdout.isatty():
            status = client.wait(run_id, include_results=True, timeout=timeout)
        else:
            fold = Fold()
            with closing(client.watch(run_id, include_results=True, timeout=timeout)) as updates:
                show_run(fold.each(updates), form)
            status = fold.status()
    say_if_ended("")
    return _print_run(status, form, waited=True)


def get(
    run_id: RunId,
    /,
    *,
    wait: Wait = False,
    timeout: Timeout = None,
    results: Annotated[bool, Parameter(help="Print the results of finished items as well.")] = False,
    order: Annotated[ResultOrder | None, Parameter(help="The order of the results, by-index by default.")] = None,
    gateway: Gateway = None,
    form: Form = None,
) -> int:
    """Print the state of a run."""
    from gateway.client.outage import deadline_after, first_call_timeout, time_until

    chosen = form_of(form)
    if order is not None and not results:
        raise UsageError("--order has a meaning with --results only")
    asked = order or ResultOrder.BY_INDEX
    deadline, limit = deadline_after(timeout), first_call_timeout(timeout)
    with connect(gateway) as client:
        # Also before it waits: fails at once if the gateway cannot be reached or has no such run.
        status = client.get(run_id, include_results=results and not wait, order=asked, timeout=limit)
    if wait:
        with connect(gateway, retry_for=RETRY_SECONDS) as client:
            status = client.wait(run_id, include_results=results, order=asked, timeout=time_until(deadline))
    if chosen is OutputForm.TABLE:
        output.print_run_id(status.run_id)
    return _print_run(status, chosen, waited=wait)


def show_run(updates: Iterable["RunUpdate"], form: OutputForm) -> "RunStatus":
    """Show the updates of a run while they come. Return the state of the last one."""
    if form is not OutputForm.TABLE:
        return output.show_lines(updates, form)
    # It imports most of rich.
    from gateway.cli.progress import show_progress

    return show_progress(updates)


def _inputs(texts: Sequence[JsonText] | None, file: Path | None) -> Sequence[JsonText]:
    """Return the inputs that flags or a file give. Raises UsageError unless exactly one of them is given."""
    if texts is not None and file is None:
        return texts
    if file is not None and texts is None:
        return read_inputs(file)
    raise UsageError("give either --input or --inputs")


def _print_run(status: "RunStatus", form: OutputForm, *, waited: bool) -> int:
    if form is not OutputForm.TABLE:
        print_value(status.to_json(), form)
    else:
        output.print_status(status)
    return exit_code_of(status) if waited else ExitCode.OK


def exit_code_of(status: "RunStatus") -> ExitCode:
    """The exit code of a command that has waited for a run."""
    if not status.finished:
        return ExitCode.RUN_UNFINISHED
    return ExitCode.OK if status.status is RunState.SUCCESS else ExitCode.RUN_FAILED
