"""The flags of every command that prints values: as what it prints them."""

import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from gateway.cli.errors import UsageError
from gateway.cli.lines import print_line
from gateway.core.model import JsonText
from gateway.core.steering import escaped_steering


class OutputForm(StrEnum):
    """As what values are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, kw_only=True)
class FormFlags:
    """How a command prints."""

    output: Annotated[
        OutputForm | None,
        Parameter(
            name="--output",
            help="Print for people (table), or for programs: JSON, one value a line, or YAML, each value after a line "
            "'---'.",
        ),
    ] = None
    as_json: Annotated[bool, Parameter(name="--json", help="The same as --output json.")] = False

    def given(self) -> OutputForm | None:
        """What was asked for. Raises UsageError if that is two things."""
        if self.as_json and self.output not in {None, OutputForm.JSON}:
            raise UsageError(f"--json and --output {self.output} exclude each other")
        return OutputForm.JSON if self.as_json else self.output


Form: TypeAlias = Annotated[FormFlags | None, Parameter(name="*")]
"""The flags of a command that prints values; None if none of them is given."""


def form_of(flags: FormFlags | None) -> OutputForm:
    """The form of a value: for people unless another one is asked for. Raises UsageError if two are."""
    return (flags or FormFlags()).given() or OutputForm.TABLE


def form_of_many(flags: FormFlags | None) -> OutputForm:
    """The form of lists and streams: JSON unless another one is asked for, or a terminal shows it."""
    return (flags or FormFlags()).given() or (OutputForm.TABLE if sys.stdout.isatty() else OutputForm.JSON)


def print_value(text: JsonText, form: OutputForm) -> None:
    """Print one value for programs, at once."""
    if form is OutputForm.YAML:
        from gateway.core.json_to_yaml import json_to_yaml

        print_line(f"---\n{json_to_yaml(text)}")
    else:
        print_json(text)


def print_either(form: OutputForm, value: JsonText, words: str) -> None:
    """Print a value for programs, or the line that says the same to people."""
    if form is OutputForm.TABLE:
        print_line(words)
    else:
        print_value(value, form)


def print_json(text: JsonText) -> None:
    """Print one JSON value as one line, at once."""
    # A payload may hold line breaks as white space, never inside of strings.
    line = text.replace("\r", " ").replace("\n", " ")
    print_line(escaped_steering(line) if sys.stdout.isatty() else line)
