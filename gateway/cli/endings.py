"""The commands that end runs: `cancel` and `delete`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gateway.cli.bulk import bounded, show_bulk
from gateway.cli.connection import connect, exit_code
from gateway.cli.errors import ExitCode, UsageError
from gateway.cli.filters import Filter, FilterFlags
from gateway.cli.forms import Form, form_of, print_either
from gateway.cli.gateway_flags import Gateway
from gateway.cli.lines import print_error
from gateway.cli.output import object_json
from gateway.cli.parameters import Timeout
from gateway.core.errors import GatewayError, RunNotEnded, Unavailable
from gateway.core.model import TERMINAL_STATES, RunState

if TYPE_CHECKING:
    from gateway.client import RunFilter

AllRuns = Annotated[bool, Parameter(name="--all", help="All runs, in place of flags that choose some.")]
Yes = Annotated[
    bool, Parameter(name="--yes", help="Do not ask. Without it, a command that chooses by flags needs a terminal.")
]
GivenRuns = Annotated[str, Parameter(name="RUN", help="The runs: ids that 'submit' and 'list' print.")]


def cancel(
    *run_ids: GivenRuns,
    filter_: Filter = None,
    all_: AllRuns = False,
    reason: Annotated[str | None, Parameter(help="Why, for people: at most 1,000 characters.")] = None,
    wait: Annotated[bool, Parameter(help="Wait until nothing of the runs executes any more.")] = False,
    timeout: Timeout = None,
    yes: Yes = False,
    gateway: Gateway = None,
    form: Form = None,
) -> int:
    """Cancel runs, by their ids or by the flags of 'list', with the runs inside them.

    Without ids, it says how many runs match that have not ended, and asks before it cancels them.
    """
    chosen = form_of(form)
    wanted = _wanted(run_ids, filter_, all_, (RunState.PENDING, RunState.RUNNING))
    if wanted is None:
        from gateway.client.outage import deadline_after, first_call_timeout, time_until

        deadline = deadline_after(timeout)
        with connect(gateway) as client:

            def cancel_one(run_id: str) -> None:
                left = time_until(deadline)
                run = client.cancel(
                    run_id, reason=reason, wait=wait, timeout=left if wait else first_call_timeout(left)
                )
                print_either(chosen, run.to_json(), f"{run.run_id}  {run.status}")

            return _each(run_ids, cancel_one)
    if wait or timeout is not None:
        raise UsageError("--wait and --timeout go with the ids of runs")
    with connect(gateway) as client:
        certain = wanted if yes else bounded(client, wanted, "cancel")
        if certain is not None:
            show_bulk(client.cancel_many(certain, reason=reason), "cancelled", chosen)
    return ExitCode.OK


def delete(
    *run_ids: GivenRuns,
    filter_: Filter = None,
    all_: AllRuns = False,
    cancel: Annotated[bool, Parameter(name="--cancel", help="Cancel runs before that have not ended.")] = False,
    yes: Yes = False,
    gateway: Gateway = None,
    form: Form = None,
) -> int:
    """Delete runs that have ended, by their ids or by the flags of 'list'. Runs inside them stay.

    Without ids, it says how many runs match, and asks before it deletes them.
    """
    chosen = form_of(form)
    wanted = _wanted(run_ids, filter_, all_, () if cancel else tuple(TERMINAL_STATES))
    if wanted is None:
        with connect(gateway) as client:

            def delete_one(run_id: str) -> None:
                try:
                    client.delete(run_id, cancel=cancel)
                except RunNotEnded:
                    if cancel:
                        raise  # It is cancelled, and tells what it waits for.
                    raise RunNotEnded(f"the run '{run_id}' has not ended: --cancel cancels it before") from None
                print_either(chosen, object_json(runId=run_id), f"{run_id}  deleted")

            return _each(run_ids, delete_one)
    with connect(gateway) as client:
        certain = wanted if yes else bounded(client, wanted, "delete")
        if certain is not None:
            show_bulk(client.delete_many(certain, cancel=cancel), "deleted", chosen)
    return ExitCode.OK


def _wanted(
    run_ids: Sequence[str], flags: FilterFlags | None, every: bool, states: Sequence[RunState]
) -> "RunFilter | None":
    """The filter of a command: of runs in `states` unless --state says others. None if ids are given.

    Raises UsageError unless exactly one of ids, flags and --all is given.
    """
    if (bool(run_ids), flags is not None, every).count(True) != 1:
        raise UsageError("give either the ids of runs, or flags that choose runs, or --all")
    if run_ids:
        return None
    wanted = (flags or FilterFlags()).run_filter()
    return wanted if wanted.states else replace(wanted, states=states)


def _each(run_ids: Sequence[str], end: Callable[[str], None]) -> ExitCode:
    """End each run. One that cannot be ended leaves the others alone; the exit code is that of the first such."""
    code = ExitCode.OK
    for run_id in run_ids:
        try:
            end(run_id)
        except Unavailable:
            raise
        except GatewayError as error:
            if len(run_ids) == 1:
                raise
            print_error(error.message if f"'{run_id}'" in error.message else f"{run_id}: {error.message}")
            code = code or exit_code(error)
    return code
