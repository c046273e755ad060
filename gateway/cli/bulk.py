"""Commands that concern many runs: they show what they would do and ask, and tell how far they have come."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gateway.cli.errors import CommandError, UsageError
from gateway.cli.forms import OutputForm, print_value
from gateway.cli.lines import print_line, print_notice, printable
from gateway.cli.output import number_of_runs

if TYPE_CHECKING:
    from gateway.client import BulkProgress, RunFilter, RunsClient, RunStatus

_SHOWN: Final = 5
"""How many runs are shown of those that a command would concern."""


def bounded(client: "RunsClient", wanted: "RunFilter", action: str) -> "RunFilter | None":
    """Show which runs a command would concern, and ask. Return the filter of these runs; None if there are none.

    Runs that are submitted meanwhile are not among them. Raises UsageError if there is nobody to ask, and CommandError
    if the answer is no.
    """
    page = client.runs_page(wanted, page_size=_SHOWN, include_total=True)
    if not page.runs:
        print_notice(f"no run matches: there is nothing to {action}")
        return None
    total = page.total_size or len(page.runs)
    print_notice(f"would {action} {number_of_runs(total)}:")
    for run in page.runs:
        print_notice(f"  {_shown(run)}")
    if total > len(page.runs):
        print_notice(f"  ... and {total - len(page.runs):,} more")
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"without a terminal nobody can be asked: give --yes to {action} them")
    sys.stderr.write(f"{action} {'it' if total == 1 else 'them'}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError(f"nothing was done: to {action} them was not confirmed")
    # The newest comes first. The clock of a run has more digits than a datetime.
    after = page.runs[0].created_at + timedelta(microseconds=1)
    earlier = wanted.created_before is not None and wanted.created_before < after
    return wanted if earlier else replace(wanted, created_before=after)


def show_bulk(progress: Iterable["BulkProgress"], word: str, form: OutputForm) -> None:
    """Show how far a call has come: a line on a terminal, or a value for each message; then all of it.

    `word` says what is done to a run.
    """
    last: BulkProgress | None = None
    try:
        with _line(form) as show:
            for last in progress:
                if form is not OutputForm.TABLE:
                    members = f'"matched":{last.matched},"{word}":{last.done},"unchanged":{last.unchanged}'
                    print_value(f"{{{members}}}", form)
                else:
                    show(f"{word} {last.done:,} of {number_of_runs(last.matched)}")
    except Exception:
        if last is not None:
            print_notice(f"{word} {last.done:,} of {number_of_runs(last.matched)} before it failed")
        raise
    if last is not None and form is OutputForm.TABLE:
        rest = f", {last.unchanged:,} unchanged" if last.unchanged else ""
        print_line(f"{word} {number_of_runs(last.done)}{rest}")


@contextmanager
def _line(form: OutputForm) -> Iterator[Callable[[str], None]]:
    """What shows a line on the terminal in place of the one before; nothing without a terminal."""
    if form is not OutputForm.TABLE or not sys.stdout.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.status import Status

    with Status("", console=Console(highlight=False)) as status:
        yield status.update


def _shown(run: "RunStatus") -> str:
    """A run in a few words."""
    return f"{run.run_id}  {run.status:<9}  {printable(run.flow_name or run.flow_id)}"
