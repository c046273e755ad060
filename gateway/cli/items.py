"""The command that looks into a run: `items`."""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gateway.cli.connection import connect
from gateway.cli.errors import UsageError
from gateway.cli.forms import Form, OutputForm, form_of_many, print_value
from gateway.cli.gateway_flags import Gateway
from gateway.cli.lines import print_notice, printable
from gateway.cli.lists import DEFAULT_LIMIT, Limit
from gateway.cli.output import STYLES, outcome_text, print_text
from gateway.cli.parameters import RunId
from gateway.core.items import StepState
from gateway.core.model import RunState

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.client import Item, StepStatus

_STEP_STYLES = {state: STYLES[RunState(state.value)] for state in StepState}


def items(
    run_id: RunId,
    /,
    *,
    states: Annotated[
        list[RunState] | None, Parameter(name="--state", help="Items in this state. May be repeated: in any of these.")
    ] = None,
    failed: Annotated[bool, Parameter(help="Items that have failed: --state failed.")] = False,
    inputs: Annotated[bool, Parameter(help="Print the inputs as well. They exist until the run has ended.")] = False,
    limit: Limit = None,
    gateway: Gateway = None,
    form: Form = None,
) -> None:
    """Show the items of a run: what each executes now, what became of its steps, and its result.

    Without a terminal, a line of JSON for each item unless --output says otherwise.
    """
    if failed and states:
        raise UsageError("give either --failed or --state")
    chosen = form_of_many(form)
    number = DEFAULT_LIMIT if limit is None else limit
    with connect(gateway) as client:
        wanted = [RunState.FAILED] if failed else states or ()
        size = number + 1 if number else 0
        with closing(client.items(run_id, states=wanted, include_inputs=inputs, page_size=size)) as found:
            _print(islice(found, number) if number else found, chosen)
            more = number > 0 and next(found, None) is not None
    if more:
        print_notice(f"there are more than these {number:,} items: --limit 0 lists all")


def _print(found: "Iterator[Item]", form: OutputForm) -> None:
    if form is not OutputForm.TABLE:
        for item in found:
            print_value(item.to_json(), form)
        return
    from rich.console import Console

    console = Console(highlight=False)
    for item in found:
        print_item(console, item)


def print_item(console: "Console", item: "Item") -> None:
    """Print an item and its steps for people, a line for each."""
    outcome = "" if item.result is None else outcome_text(item.result)
    again = f"begun {item.attempts:,} times  " if item.attempts > 1 else ""
    print_text(
        console, f"{item.item_index:>9}  ", (f"{item.status:<9}  ", STYLES[item.status]), printable(again + outcome)
    )
    if item.input_json is not None:
        print_text(console, (f"{'input':>20}  ", "dim"), printable(item.input_json))
    for step in item.steps:
        state = (f"{step.status:<9}  ", _STEP_STYLES[step.status])
        print_text(console, " " * 11, state, _step_words(step))


def _step_words(step: "StepStatus") -> str:
    """A step in one line, after its state."""
    words = [step.step_id, step.component]
    if step.attempts > 1:
        words.append(f"tried {step.attempts:,} times")
    if step.error is not None:
        words.append(f"{step.error.message} ({step.error.code})")
    return "  ".join(map(printable, words))
