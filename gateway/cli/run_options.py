"""The flags that say how a run is executed, and how it is found again."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.cli.assignments import assignments
from gateway.cli.filters import LABEL_FORM, LABEL_RULE
from gateway.cli.parameters import duration, whole_number

if TYPE_CHECKING:
    from gateway.client import SubmitOptions

VARIABLE_FORM = "NAME=JSON"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a submit."""

    max_concurrency: Annotated[
        int | None,
        Parameter(
            name="--max-concurrency",
            converter=whole_number,
            validator=Number(gte=1, lt=2**32),
            help="How many items may execute at the same time.",
        ),
    ] = None
    overrides: Annotated[
        str | None,
        Parameter(name="--overrides", help="Changes to the flow's steps for this run, as a JSON object."),
    ] = None
    variables: Annotated[
        list[str] | None,
        Parameter(
            name="--variable", metavar=VARIABLE_FORM, help="The value of a variable of the flow. May be repeated."
        ),
    ] = None
    flow_label: Annotated[
        str | None,
        Parameter(name="--flow-label", help="A text for this run, at most 255 characters, by which it can be found."),
    ] = None
    labels: Annotated[
        list[str] | None,
        Parameter(
            name="--label",
            metavar=LABEL_FORM,
            help=f"A name and a value by which the run can be found. May be repeated, 32 times at most. {LABEL_RULE}",
        ),
    ] = None
    execution_timeout: Annotated[
        float | None,
        Parameter(
            name="--execution-timeout",
            metavar="DURATION",
            converter=duration,
            allow_leading_hyphen=True,
            help="Cancel the run if it has not ended after this time: 90, 45s, 2h.",
        ),
    ] = None
    idempotency_key: Annotated[
        str | None,
        Parameter(
            name="--idempotency-key",
            help="Makes it safe to repeat the command: the same key and parameters give the same run.",
        ),
    ] = None

    def submit_options(self) -> "SubmitOptions":
        """Return what the client takes. Raises UsageError if a flag is malformed."""
        variables = assignments("--variable", VARIABLE_FORM, self.variables or ())
        labels = assignments("--label", LABEL_FORM, self.labels or ())
        from gateway.client import Json

        return {
            "max_concurrency": self.max_concurrency,
            "overrides": None if self.overrides is None else Json(self.overrides),
            "variables": {name: Json(text) for name, text in variables.items()},
            "flow_label": self.flow_label,
            "labels": labels,
            "execution_timeout": self.execution_timeout,
            "idempotency_key": self.idempotency_key,
        }


Options: TypeAlias = Annotated[RunOptions | None, Parameter(name="*")]
"""The flags of a command that submits; None if none of them is given."""
