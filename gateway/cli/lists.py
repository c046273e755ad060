"""The command that finds runs: `list`."""

import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.cli import output
from gateway.cli.connection import RETRY_SECONDS, connect
from gateway.cli.errors import UsageError
from gateway.cli.filters import Filter, FilterFlags
from gateway.cli.forms import Form, OutputForm, form_of_many, print_value
from gateway.cli.gateway_flags import Gateway
from gateway.cli.lines import print_notice
from gateway.cli.parameters import whole_number
from gateway.core.run_filter import RunOrder

if TYPE_CHECKING:
    from gateway.client import RunFilter, RunStatus

DEFAULT_LIMIT = 100
"""How many runs or items are listed unless the command says it."""

_PAGE = 1_000
"""How many runs are asked for, and printed, at a time."""

Limit = Annotated[
    int | None,
    Parameter(converter=whole_number, validator=Number(gte=0), help="At most so many, 100 by default; 0: all."),
]


def list_runs(
    *,
    filter_: Filter = None,
    limit: Limit = None,
    order: Annotated[RunOrder, Parameter(help="The order of the runs.")] = RunOrder.NEWEST_FIRST,
    follow: Annotated[
        bool,
        Parameter(help="Go on with each run that comes, changes or leaves, until Ctrl-C: a live table on a terminal."),
    ] = False,
    gateway: Gateway = None,
    form: Form = None,
) -> None:
    """List runs: a table on a terminal, otherwise a line of JSON for each, unless --output says otherwise."""
    chosen = form_of_many(form)
    wanted = (filter_ or FilterFlags()).run_filter()
    if follow:
        if chosen is OutputForm.TABLE and not sys.stdout.isatty():
            raise UsageError("a live table needs a terminal: give --output json or yaml")
        if limit is not None or order is not RunOrder.NEWEST_FIRST:
            raise UsageError("--limit and --order have no meaning with --follow")
        _follow(wanted, gateway, chosen)
        return
    number = DEFAULT_LIMIT if limit is None else limit
    with connect(gateway) as client:
        size = min(number + 1, _PAGE) if number else _PAGE
        with closing(client.runs(wanted, order=order, page_size=size)) as runs:
            _print(islice(runs, number) if number else runs, chosen)
            more = number > 0 and next(runs, None) is not None
    if more:
        print_notice(f"there are more than these {number:,} runs: --limit 0 lists all")


def _print(runs: "Iterator[RunStatus]", form: OutputForm) -> None:
    if form is not OutputForm.TABLE:
        for run in runs:
            print_value(run.to_json(), form)
        return
    from gateway.cli.run_table import print_runs

    heading = True
    while page := list(islice(runs, _PAGE)):
        print_runs(page, heading=heading)
        heading = False


def _follow(wanted: "RunFilter", gateway: Gateway, form: OutputForm) -> None:
    with connect(gateway, retry_for=RETRY_SECONDS) as client:
        # Fails at once if the gateway cannot be reached, or cannot list by this filter.
        client.runs_page(wanted, page_size=1)
        with closing(client.watch_set(wanted)) as events:
            if form is not OutputForm.TABLE:
                output.show_set_lines(events, form)
            else:
                from gateway.cli.live_runs import show_live_runs

                show_live_runs(events)
