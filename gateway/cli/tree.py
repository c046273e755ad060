"""The command that shows a run and the runs inside it: `tree`."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.cli.connection import connect
from gateway.cli.forms import Form, OutputForm, form_of_many, print_value
from gateway.cli.gateway_flags import Gateway
from gateway.cli.lines import print_notice, printable
from gateway.cli.output import STYLES, counts_text, number_of_runs, print_text
from gateway.cli.parameters import RunId, whole_number
from gateway.core.run_filter import RunOrder

if TYPE_CHECKING:
    from gateway.client import RunsClient, RunStatus

_DEFAULT_LIMIT = 1_000


def tree(
    run_id: RunId,
    /,
    *,
    limit: Annotated[
        int,
        Parameter(
            converter=whole_number,
            validator=Number(gte=1),
            help="Look at so many runs at most, those that were submitted first.",
        ),
    ] = _DEFAULT_LIMIT,
    gateway: Gateway = None,
    form: Form = None,
) -> None:
    """Show a run and the runs inside it, however deep, with their states.

    Without a terminal, a line of JSON for each run, after that of the run that submitted it, unless --output says
    otherwise.
    """
    chosen = form_of_many(form)
    with connect(gateway) as client:
        run = client.get(run_id)
        runs, more = _inside(client, run, limit)
    rows = rows_of(run, runs)
    if chosen is not OutputForm.TABLE:
        for _, row in rows:
            print_value(row.to_json(), chosen)
    else:
        _draw(rows)
    if more:
        print_notice(f"the outermost run has more than {number_of_runs(limit)} inside it: --limit looks at more")


def _inside(client: "RunsClient", run: "RunStatus", limit: int) -> "tuple[list[RunStatus], bool]":
    """The runs inside the outermost run that this one is inside, and whether there are more than the limit."""
    from gateway.client import RunFilter

    wanted = RunFilter(root_run_id=run.root_run_id or run.run_id)
    with closing(client.runs(wanted, order=RunOrder.OLDEST_FIRST, page_size=limit + 1)) as runs:
        return list(islice(runs, limit)), next(runs, None) is not None


def rows_of(run: "RunStatus", runs: "Sequence[RunStatus]") -> "list[tuple[str, RunStatus]]":
    """The run and those of `runs` that are inside it, each after its parent, with the lines that are drawn before it.

    Depth first, without recursion: runs may nest deeper than the interpreter allows. Runs whose parent has been deleted
    are shown inside the outermost run.
    """
    children = defaultdict(list)
    known = {run.run_id, *(each.run_id for each in runs)}
    for each in runs:
        orphan = each.parent_run_id not in known and run.root_run_id is None
        children[run.run_id if orphan else each.parent_run_id].append(each)
    rows = []
    stack = [("", "", run)]
    while stack:
        branch, below, each = stack.pop()
        rows.append((branch, each))
        inner = children[each.run_id]
        for child in reversed(inner):
            last = child is inner[-1]
            stack.append((below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), child))
    return rows


def _draw(rows: "list[tuple[str, RunStatus]]") -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for branch, run in rows:
        counts = f"  {counts_text(run.items)}" if run.items.total > 1 else ""
        name = printable(run.flow_name or run.flow_id)
        print_text(console, branch, run.run_id, (f"  {run.status:<9}  ", STYLES[run.status]), name, counts)
