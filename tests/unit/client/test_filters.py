"""Filters of users: what they mean, and what is wrong with those that are not valid."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.client import InvalidParams, RunFilter, RunState
from gateway.client.filters import canonical
from gateway.core import run_filter

DIGITS = "0" * 64
RUN = "00000000-0000-4000-8000-00000000000A"


def test_no_filter_and_an_empty_one_match_all_runs() -> None:
    assert canonical(None) == canonical(RunFilter()) == run_filter.RunFilter()


def test_every_condition_reaches_the_gateway_as_it_has_it() -> None:
    after = datetime(2025, 1, 15, 10, 30, 0, 250, tzinfo=UTC)
    wanted = RunFilter(
        states=iter([RunState.RUNNING, RunState.PENDING]),
        flow_ids=[DIGITS],
        flow_label="nightly*",
        flow_name="report",
        created_after=after,
        created_before=(after + timedelta(hours=1)).astimezone(timezone(timedelta(hours=2))),
        parent_run_id=RUN,
        root_run_id=RUN,
        roots_only=True,
        labels={"team": "a"},
    )
    time = 1_736_937_000_000_250_000
    assert canonical(wanted) == run_filter.RunFilter(
        states=(RunState.PENDING, RunState.RUNNING),
        flow_ids=(f"sha256:{DIGITS}",),
        flow_label="nightly*",
        flow_name="report",
        created_after=time,
        created_before=time + 3600 * 10**9,
        parent_run_id=RUN.lower(),
        root_run_id=RUN.lower(),
        roots_only=True,
        labels={"team": "a"},
    )


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        (RunFilter(created_after=datetime(2025, 1, 15)), "filter.created_after: has no time zone"),
        (RunFilter(parent_run_id="x"), "filter.parent_run_id: "),
        (RunFilter(flow_ids=["x"]), "filter.flow_ids[0]: "),
        (RunFilter(labels={"": "a"}), "filter.labels"),
        (RunFilter(labels={"a": "\ud800"}), "filter.labels.a: "),
        (RunFilter(states=["asleep"]), "filter.states[0]: "),  # type: ignore[list-item]
    ],
)
def test_what_is_not_valid_is_named(wanted: RunFilter, place: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        canonical(wanted)
    assert raised.value.message.startswith(place)
