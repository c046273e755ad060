"""The command that waits for runs and shows them meanwhile: `watch`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from gateway.cli.connection import RETRY_SECONDS, connect, exit_code
from gateway.cli.errors import UsageError
from gateway.cli.filters import Filter
from gateway.cli.forms import Form, OutputForm, form_of_many, print_value
from gateway.cli.gateway_flags import Gateway
from gateway.cli.interrupts import cursor_is_hidden
from gateway.cli.lines import print_error, print_notice
from gateway.cli.output import notice_of
from gateway.cli.runs import exit_code_of, show_run
from gateway.core.errors import GatewayError, RunNotFound

if TYPE_CHECKING:
    from gateway.cli.watched_runs import WatchedRuns
    from gateway.client import RunFilter, RunStatus

Telling: TypeAlias = Callable[[str], None]


def watch(
    *run_ids: Annotated[str, Parameter(name="RUN", help="The runs: ids that 'submit' and 'list' print.")],
    filter_: Filter = None,
    gateway: Gateway = None,
    form: Form = None,
) -> int:
    """Follow runs until all have finished: those with these ids, or those that the flags choose as in 'list'.

    A progress bar on a terminal, or a table of them; otherwise, a line of JSON for each update, unless --output says
    otherwise. By flags, runs that come meanwhile are waited for as well. The exit code is that of the worst run. A
    connection that is lost is made again, for a minute at most; a gateway that cannot be reached at first is not waited
    for.
    """
    chosen = form_of_many(form)
    if bool(run_ids) == (filter_ is not None):
        raise UsageError("give either the ids of runs, or flags that choose runs")
    if filter_ is not None:
        return _watch_set(filter_.run_filter(), gateway, chosen)
    ids = [*dict.fromkeys(run_ids)]
    return _watch_one(ids[0], gateway, chosen) if len(ids) == 1 else _watch_each(ids, gateway, chosen)


def _watch_one(run_id: str, gateway: Gateway, form: OutputForm) -> int:
    with connect(gateway) as client:
        # Fails at once if the gateway cannot be reached or has no such run.
        client.get(run_id)
    with connect(gateway, retry_for=RETRY_SECONDS) as client, closing(client.watch(run_id)) as updates:
        return exit_code_of(show_run(updates, form))


def _watch_each(run_ids: Sequence[str], gateway: Gateway, form: OutputForm) -> int:
    """Follow some runs on one stream. One that cannot be followed leaves the others alone."""
    from gateway.cli.watched_runs import WatchedRuns
    from gateway.client import RunUpdate

    with connect(gateway) as client, suppress(RunNotFound):
        # Fails at once if the gateway cannot be reached. A run that does not exist leaves the others alone.
        client.get(run_ids[0])
    watched = WatchedRuns()
    with (
        connect(gateway, retry_for=RETRY_SECONDS) as client,
        closing(client.watch_many(run_ids)) as events,
        _showing(watched, form) as (show, notify),
    ):
        for run_id, event in events:
            if isinstance(event, RunUpdate):
                if notice := notice_of(event):
                    notify(notice)
                show(event.run)
            elif isinstance(event, GatewayError):
                print_error(event.message if f"'{run_id}'" in event.message else f"{run_id}: {event.message}")
                watched.leave_out(run_id, exit_code(event))
    return watched.exit_code()


def _watch_set(wanted: "RunFilter", gateway: Gateway, form: OutputForm) -> int:
    """Follow the runs that match until all that have been there have ended."""
    from gateway.cli.watched_runs import WatchedRuns
    from gateway.client import SetEvent, SetUpdate

    watched, complete = WatchedRuns(), False
    with connect(gateway) as client:
        # Fails at once if the gateway cannot be reached, or cannot list by this filter.
        client.runs_page(wanted, page_size=1)
    with (
        connect(gateway, retry_for=RETRY_SECONDS) as client,
        closing(client.watch_set(wanted)) as events,
        _showing(watched, form) as (show, notify),
    ):
        for event in events:
            if notice := notice_of(event):
                notify(notice)
            if event.restarted:
                watched.begin_anew()
                complete = False
            if not isinstance(event, SetUpdate):
                complete = True
            elif event.run is not None and (event.event is not SetEvent.LEFT or event.run.finished):
                show(event.run)
            else:
                watched.leave_out(event.run_id)
            if complete and watched.all_ended:
                break
    if watched.none:
        print_notice("no run matches: there is nothing to wait for")
    return watched.exit_code()


@contextmanager
def _showing(watched: "WatchedRuns", form: OutputForm) -> "Iterator[tuple[Callable[[RunStatus], None], Telling]]":
    """What shows the state of a run, in a table or as a value, and what tells of a cut."""
    if form is not OutputForm.TABLE:

        def show(run: "RunStatus") -> None:
            watched.add(run)
            print_value(run.to_json(), form)

        yield show, print_notice
        return
    from rich.console import Console
    from rich.live import Live

    cursor_is_hidden(True)
    try:
        with Live(watched, console=Console(highlight=False)) as live:
            yield watched.add, live.console.print
            live.refresh()
    finally:
        cursor_is_hidden(False)
