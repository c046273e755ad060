"""What the command line prints: lines for people, and for programs JSON as the specification spells it."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from gateway.adapter.json_text import quote
from gateway.adapter.runs_json import run_status_to_canonical_json
from gateway.adapter.times import rfc3339
from gateway.model import ItemResult, ItemStatistics, JsonText, RunState, RunStatus

STYLES = {
    RunState.PENDING: "dim",
    RunState.RUNNING: "cyan",
    RunState.SUCCESS: "green",
    RunState.FAILED: "red",
    RunState.CANCELLED: "yellow",
}

_CONTROL_CHARACTERS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\N{REPLACEMENT CHARACTER}")


def print_line(text: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_json(text: JsonText) -> None:
    """Print one JSON value as one line, at once."""
    # A payload may hold line breaks as white space, never inside of strings.
    print_line(text.replace("\r", " ").replace("\n", " "))


def object_json(**members: str) -> JsonText:
    """The text of an object of strings."""
    return f"{{{','.join(f'{quote(name)}:{quote(value)}' for name, value in members.items())}}}"


def print_status_json(status: RunStatus) -> None:
    """Print the state of a run as one line."""
    print_json(run_status_to_canonical_json(status))


def print_error(message: str) -> None:
    """Print a line about what went wrong, to standard error."""
    sys.stderr.write(f"error: {printable(message)}\n")


def printable(text: str) -> str:
    """Text on one line, without what could steer a terminal."""
    return " ".join(text.split()).translate(_CONTROL_CHARACTERS)


def print_status(status: RunStatus) -> None:
    """Print the state of a run for people."""
    console = Console(highlight=False)
    lines = {
        "run": status.run_id,
        "flow": status.flow_id,
        "name": status.flow_name,
        "label": status.flow_label,
        "state": status.status,
        "items": _statistics(status.items),
        "created": rfc3339(status.created_at),
        "completed": None if status.completed_at is None else rfc3339(status.completed_at),
    }
    for name, text in lines.items():
        if text:
            style = STYLES[status.status] if name == "state" else ""
            _print(console, (f"{name:<11}", "dim"), (printable(text), style))
    for result in status.results or ():
        index, state = f"{result.item_index:>9}  ", f"{result.status:<9}  "
        _print(console, index, (state, STYLES[result.status]), printable(_outcome(result)))


def show_progress(updates: Iterable[RunStatus]) -> RunStatus | None:
    """Draw a bar on the terminal that follows the updates; return the last one."""
    last = None
    columns = (
        TextColumn("[{task.fields[style]}]{task.fields[state]:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=None, style="dim", state="", counts="")
        for last in updates:
            items = last.items
            progress.update(
                bar,
                completed=items.success + items.failed + items.cancelled,
                total=items.total,
                style=STYLES[last.status],
                state=last.status,
                counts=_counts(items),
            )
    return last


def _print(console: Console, *parts: str | tuple[str, str]) -> None:
    # One line of output for each line of text, however wide the terminal: lines get searched and cut.
    console.print(Text.assemble(*parts), soft_wrap=True)


def _statistics(items: ItemStatistics) -> str:
    counts = _counts(items)
    return f"{items.total} ({counts})" if counts else f"{items.total}"


def _counts(items: ItemStatistics) -> str:
    counts = {
        RunState.PENDING: items.pending,
        RunState.RUNNING: items.running,
        RunState.SUCCESS: items.success,
        RunState.FAILED: items.failed,
        RunState.CANCELLED: items.cancelled,
    }
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _outcome(result: ItemResult) -> str:
    if result.error is not None:
        data = "" if result.error.data is None else f" {result.error.data}"
        return f"{result.error.message} ({result.error.code}){data}"
    return result.value or ""
