"""Filters of runs as queries of the engine's visibility.

The engine finds what is meant and sometimes more: an index of SQLite, which development servers have, tells neither
capitals from small letters in prefixes and labels, nor times within a millisecond. So who asks compares what is found
with the filter.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter
from gateway.runtimes.temporal.messages import DELETION, WORKFLOW
from gateway.runtimes.temporal.search_texts import MAX_CHARACTERS, search_label, search_text

MILLISECOND: Final = 1_000_000
"""In nanoseconds: times in queries are so exact."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_OPEN: Final = "ExecutionStatus = 'Running'"
_ENDED_OUTSIDE: Final = "ExecutionStatus IN ('Terminated', 'Failed', 'TimedOut', 'Canceled')"
"""Of runs that a gateway did not end: they count as cancelled."""

_RUNS: Final = f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus != 'ContinuedAsNew'"
"""All runs: that of which a workflow began anew is in its last one."""

_RUNS_AND_DELETIONS: Final = f"WorkflowType IN ('{WORKFLOW}', '{DELETION}') AND ExecutionStatus != 'ContinuedAsNew'"


def visibility_query(wanted: RunFilter, *, deletions: bool = False) -> str:
    """The query for all runs that match, and perhaps some more; without the times of the filter.

    With `deletions`, also for what tells that such runs are deleted.
    """
    parts = [_RUNS_AND_DELETIONS if deletions else _RUNS]
    if wanted.namespace is not None:
        parts += _equal("RunsNamespace", wanted.namespace)
    if wanted.states:
        parts.append(f"({' OR '.join(dict.fromkeys(map(_state, wanted.states)))})")
    if wanted.flow_ids:
        parts.append(f"RunsFlowId IN ({', '.join(map(_quoted, wanted.flow_ids))})")
    for name, pattern in (("RunsFlowLabel", wanted.flow_label), ("RunsFlowName", wanted.flow_name)):
        if pattern is not None:
            text = search_text(pattern.removesuffix("*"))
            parts += _begins(name, text) if pattern.endswith("*") else _equal(name, text)
    if wanted.parent_run_id is not None:
        parts += _equal("RunsParent", wanted.parent_run_id)
    if wanted.root_run_id is not None:
        parts += _equal("RunsRoot", wanted.root_run_id)
    if wanted.roots_only:
        parts.append("RunsRoot IS NULL")
    for name, value in wanted.labels.items():
        if _can_be_asked(text := search_label(name, value)):
            parts.append(f"RunsLabels = {_quoted(text)}")
    return " AND ".join(parts)


def created_between(low: int, high: int) -> str:
    """A condition: runs created from the millisecond `low` on, and before `high`."""
    return f"RunsCreated >= '{moment(low)}' AND RunsCreated < '{moment(high)}'"


def changed_since(since: int) -> str:
    """A condition: runs that have begun or ended, by the engine's clock, from a millisecond on."""
    return f"(StartTime >= '{moment(since)}' OR CloseTime >= '{moment(since)}')"


def closed_between(low: int, high: int) -> str:
    """A condition: runs that have ended, by the engine's clock, from the millisecond `low` on, and before `high`."""
    return f"CloseTime >= '{moment(low)}' AND CloseTime < '{moment(high)}'"


def counts_exactly(wanted: RunFilter) -> bool:
    """Whether every engine finds just what is meant, so that it can count it.

    Runs that nobody has begun to execute are counted among those that run.
    """
    if RunState.PENDING in wanted.states and RunState.RUNNING not in wanted.states:
        return False
    patterns = [each for each in (wanted.flow_label, wanted.flow_name) if each is not None]
    if wanted.labels or any(each.endswith("*") for each in patterns):
        return False
    return all(_can_be_asked(each) and len(each) < MAX_CHARACTERS // 2 for each in patterns) and not any(
        moment is not None and moment % MILLISECOND for moment in (wanted.created_after, wanted.created_before)
    )


def moment(milliseconds: int) -> str:
    """A time as queries have it. Those before the year 1970 become its beginning."""
    return (_EPOCH + timedelta(milliseconds=max(0, milliseconds))).isoformat(timespec="milliseconds")


def _state(state: RunState) -> str:
    if state in (RunState.PENDING, RunState.RUNNING):
        return _OPEN  # Which of them, only a gateway knows that executes it.
    told = f"(ExecutionStatus = 'Completed' AND RunsState = '{state.value}')"
    return f"{told} OR {_ENDED_OUTSIDE}" if state is RunState.CANCELLED else told


def _equal(name: str, text: str) -> list[str]:
    return [f"{name} = {_quoted(text)}"] if _can_be_asked(text) else _begins(name, text)


def _begins(name: str, text: str) -> list[str]:
    """The condition for texts with a beginning, or with as much of it as can be asked for."""
    length = next((place for place, character in enumerate(text) if not _can_be_asked(character)), len(text))
    return [f"{name} STARTS_WITH {_quoted(text[:length])}"] if length else [f"{name} IS NOT NULL"]


def _can_be_asked(text: str) -> bool:
    """Whether queries can have a text: engines read escapes of these characters in ways of their own, or fail."""
    return text.isprintable() and "\\" not in text and '"' not in text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"
