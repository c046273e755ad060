"""Output of the commands: lines for people, and values of the specification for programs."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway.cli.forms import OutputForm, print_value
from gateway.cli.lines import print_notice, printable
from gateway.core.json_text import quote
from gateway.core.model import ItemStatistics, JsonText, Nanoseconds, RunState
from gateway.core.steering import without_steering
from gateway.core.times import rfc3339

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.client import ItemResult, RunSetEvent, RunStatus, RunUpdate

STYLES = {
    RunState.PENDING: "dim",
    RunState.RUNNING: "cyan",
    RunState.SUCCESS: "green",
    RunState.FAILED: "red",
    RunState.CANCELLED: "yellow",
}


def object_json(**members: str) -> JsonText:
    """The JSON text of an object whose members are strings."""
    return f"{{{','.join(f'{quote(name)}:{quote(value)}' for name, value in members.items())}}}"


def show_lines(updates: Iterable["RunUpdate"], form: OutputForm) -> "RunStatus":
    """Print each update as a value, and reconnects to standard error. Return the state of the last update."""
    for update in updates:
        if notice := notice_of(update):
            print_notice(notice)
        print_value(update.run.to_json(), form)
    return update.run


def show_set_lines(events: Iterable["RunSetEvent"], form: OutputForm) -> None:
    """Print each event of a set as a value, and reconnects to standard error."""
    for event in events:
        if notice := notice_of(event):
            print_notice(notice)
        print_value(_set_event_json(event), form)


def _set_event_json(event: "RunSetEvent") -> JsonText:
    """The JSON text of an event of a set: the `params` of a notification of `runs/watch`."""
    from gateway.client import SetUpdate

    if isinstance(event, SetUpdate):
        members = [f'"event":{quote(event.event)}', f'"runId":{quote(event.run_id)}']
        if event.run is not None:
            members += [f'"revision":{event.revision}', f'"run":{event.run.to_json()}']
    else:
        members = ['"event":"caughtUp"']
    members += ['"restarted":true'] if event.restarted else []
    return f"{{{','.join(members)}}}"


def print_run_id(run_id: str) -> None:
    """Print the first line about a run for people."""
    from rich.console import Console

    print_text(Console(highlight=False), (f"{'run':<11}", "dim"), run_id)


def print_status(status: "RunStatus") -> None:
    """Print the state of a run for people, after the line with its id."""
    # A server needs nothing of it, and starts the sooner.
    from rich.console import Console

    console = Console(highlight=False)
    lines = {
        "flow": status.flow_id,
        "name": status.flow_name,
        "label": status.flow_label,
        "labels": " ".join(f"{name}={value}" for name, value in sorted(status.labels.items())),
        "state": status.status,
        "reason": status.cancel_reason,
        "items": _statistics(status.items),
        "parent": status.parent_run_id,
        "root": status.root_run_id,
        "created": rfc3339(status.created_at_ns),
        "started": _time(status.started_at_ns),
        "completed": _time(status.completed_at_ns),
        "expires": _time(status.expires_at_ns),
    }
    for name, text in lines.items():
        if text:
            style = STYLES[status.status] if name == "state" else ""
            print_text(console, (f"{name:<11}", "dim"), (printable(text), style))
    for result in status.results or ():
        index, state = f"{result.item_index:>9}  ", f"{result.status:<9}  "
        print_text(console, index, (state, STYLES[result.status]), printable(outcome_text(result)))


def notice_of(update: "RunUpdate | RunSetEvent") -> str | None:
    """A line for the user if the stream was interrupted before this update."""
    if update.restarted:
        return "started anew: the gateway did not know where this watch had stopped"
    return "reconnected" if update.reconnected else None


def print_text(console: "Console", *parts: str | tuple[str, str]) -> None:
    """Print one line for people, of texts and their styles."""
    from rich.text import Text

    # One line of output for each line of text, for any width of the terminal: lines are searched and cut.
    line = Text.assemble(*parts)
    line.plain = without_steering(line.plain)
    console.print(line, soft_wrap=True)


def _time(time: Nanoseconds | None) -> str | None:
    return None if time is None else rfc3339(time)


def _statistics(items: ItemStatistics) -> str:
    counts = counts_text(items)
    return f"{items.total} ({counts})" if counts else f"{items.total}"


def number_of_runs(number: int) -> str:
    """A number of runs, in words."""
    return "1 run" if number == 1 else f"{number:,} runs"


def finished_items(run: "RunStatus") -> int:
    """How many items of a run have ended."""
    return run.items.success + run.items.failed + run.items.cancelled


def counts_text(items: ItemStatistics) -> str:
    """How many items are in each state that any of them has."""
    counts = {
        RunState.PENDING: items.pending,
        RunState.RUNNING: items.running,
        RunState.SUCCESS: items.success,
        RunState.FAILED: items.failed,
        RunState.CANCELLED: items.cancelled,
    }
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def outcome_text(result: "ItemResult") -> str:
    """The value or the error of an item, for people."""
    if result.error is not None:
        data = "" if result.error.data_json is None else f" {result.error.data_json}"
        return f"{result.error.message} ({result.error.code}){data}"
    return result.value_json or ""
