"""The command that shows a run and the runs inside it: `tree`."""

import sys
from collections import defaultdict
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.cli import output
from gateway.cli.connection import connect
from gateway.cli.lines import print_notice, printable
from gateway.cli.output import STYLES, counts_text, print_text
from gateway.cli.parameters import AsJson, GatewayAddress, RunId, whole_number
from gateway.core.addresses import DEFAULT_GRPC_ADDRESS
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
    address: GatewayAddress = DEFAULT_GRPC_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show a run and the runs inside it, however deep, with their states.

    Without a terminal, a line of JSON for each run, after that of the run that submitted it.
    """
    with connect(address) as client:
        run = client.get(run_id)
        rows, more = _inside(client, run, limit)
    if as_json or not sys.stdout.isatty():
        for _, row in rows:
            output.print_status_json(row)
    else:
        _draw(rows)
    if more:
        print_notice(f"the outermost run has more than {limit:,} runs inside it: --limit looks at more")


def _inside(client: "RunsClient", run: "RunStatus", limit: int) -> "tuple[list[tuple[str, RunStatus]], bool]":
    """The run and those inside it, each after its parent with the lines that are drawn before it; whether there may be
    more.
    """
    from gateway.client import RunFilter

    root = run.root_run_id or run.run_id
    children = defaultdict(list)
    with closing(client.runs(RunFilter(root_run_id=root), order=RunOrder.OLDEST_FIRST, page_size=limit)) as runs:
        for each in islice(runs, limit):
            children[each.parent_run_id].append(each)
        more = next(runs, None) is not None
    rows = []
    # Depth first, without recursion: runs may nest deeper than the interpreter allows.
    stack = [("", "", run)]
    while stack:
        branch, below, each = stack.pop()
        rows.append((branch, each))
        inner = children[each.run_id]
        for child in reversed(inner):
            last = child is inner[-1]
            stack.append((below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), child))
    return rows, more


def _draw(rows: "list[tuple[str, RunStatus]]") -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for branch, run in rows:
        counts = f"  {counts_text(run.items)}" if run.items.total > 1 else ""
        name = printable(f"  {run.flow_name or run.flow_id}{counts}")
        print_text(console, branch, run.run_id, "  ", (f"{run.status:<9}", STYLES[run.status]), name)
