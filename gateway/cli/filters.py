"""The flags that choose runs: the same ones for every command that lists or ends them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from gateway.cli.assignments import assignments
from gateway.cli.errors import UsageError
from gateway.core.durations import DurationTooLong, duration_seconds
from gateway.core.errors import InvalidParams
from gateway.core.model import RunState, blob_digest
from gateway.core.times import nanoseconds

if TYPE_CHECKING:
    from gateway.client import RunFilter

LABEL_FORM = "NAME=VALUE"

LABEL_RULE = "The first '=' ends the name: a value may have more of them, a name none."

_TIME_FORM = "AGE|TIME"


@dataclass(frozen=True, kw_only=True)
class FilterFlags:
    """Runs match that meet all conditions."""

    states: Annotated[
        list[RunState] | None, Parameter(name="--state", help="Runs in this state. May be repeated: in any of these.")
    ] = None
    labels: Annotated[
        list[str] | None,
        Parameter(
            name="--label",
            metavar=LABEL_FORM,
            help=f"Runs with this label. May be repeated: with all of them. {LABEL_RULE}",
        ),
    ] = None
    flow: Annotated[
        str | None,
        Parameter(
            name="--flow",
            metavar="ID|NAME",
            help="Runs of this flow: its id, or its name; with a '*' at the end, names that begin so.",
        ),
    ] = None
    flow_label: Annotated[
        str | None,
        Parameter(
            name="--flow-label",
            help="Runs with this text of submit --flow-label; with a '*' at the end, those that begin so.",
        ),
    ] = None
    since: Annotated[
        str | None,
        Parameter(
            name="--since",
            metavar=_TIME_FORM,
            allow_leading_hyphen=True,
            help="Runs that were submitted so long ago at most (2h, 30d), or at this time or later.",
        ),
    ] = None
    until: Annotated[
        str | None,
        Parameter(
            name="--until",
            metavar=_TIME_FORM,
            allow_leading_hyphen=True,
            help="Runs that were submitted longer ago, or before this time.",
        ),
    ] = None
    parent: Annotated[str | None, Parameter(name="--parent", metavar="RUN", help="Runs that this run submitted.")] = (
        None
    )
    root: Annotated[
        str | None, Parameter(name="--root", metavar="RUN", help="Runs inside this outermost run, however deep.")
    ] = None
    roots: Annotated[bool, Parameter(name="--roots", help="Runs that are not inside another run.")] = False

    def run_filter(self) -> "RunFilter":
        """Return the filter. Raises UsageError if a flag is not valid."""
        from gateway.client import RunFilter

        by_id = self.flow is not None and blob_digest(self.flow) is not None
        return RunFilter(
            states=self.states or (),
            flow_ids=[self.flow] if self.flow is not None and by_id else (),
            flow_name=None if by_id else self.flow,
            flow_label=self.flow_label,
            created_after=_moment("--since", self.since),
            created_before=_moment("--until", self.until),
            parent_run_id=self.parent,
            root_run_id=self.root,
            roots_only=self.roots,
            labels=assignments("--label", LABEL_FORM, self.labels or ()),
        )


Filter: TypeAlias = Annotated[FilterFlags | None, Parameter(name="*")]
"""The flags of a command that chooses runs; None if none of them is given."""


def _moment(flag: str, text: str | None) -> datetime | None:
    """The time that a flag names: an age, or a time in RFC 3339. Raises UsageError if it is neither, or too far off."""
    if text is None:
        return None
    try:
        microseconds = nanoseconds(text) // 1000
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except InvalidParams:
        pass
    try:
        return datetime.now(UTC) - timedelta(seconds=duration_seconds(text))
    except (DurationTooLong, OverflowError):
        raise UsageError(f"{flag}: {text!r} is longer ago than any time that can be told") from None
    except ValueError:
        raise UsageError(
            f"{flag}: expected an age, such as 2h or 30d, or a time, such as 2025-01-15T10:30:00Z, got {text!r}"
        ) from None
