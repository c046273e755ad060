"""The flags that choose runs: what they mean."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from gateway.cli.errors import ExitCode, UsageError
from gateway.cli.filters import FilterFlags
from gateway.cli.program import run
from gateway.client import RunFilter, RunState

DIGITS = "a" * 64


def test_no_flags_choose_all_runs() -> None:
    assert FilterFlags().run_filter() == RunFilter(flow_ids=())


def test_flags_are_the_conditions_of_a_filter() -> None:
    flags = FilterFlags(
        states=[RunState.RUNNING],
        labels=["team=a", "empty="],
        flow="report*",
        flow_label="nightly",
        since="2025-01-15T10:30:00.25Z",
        until="2025-01-15T12:30:00+01:00",
        parent="p",
        root="r",
        roots=True,
    )
    assert flags.run_filter() == RunFilter(
        states=[RunState.RUNNING],
        flow_name="report*",
        flow_label="nightly",
        created_after=datetime(2025, 1, 15, 10, 30, 0, 250_000, tzinfo=UTC),
        created_before=datetime(2025, 1, 15, 11, 30, tzinfo=UTC),
        parent_run_id="p",
        root_run_id="r",
        roots_only=True,
        labels={"team": "a", "empty": ""},
    )


@pytest.mark.parametrize("flow_id", [DIGITS, f"sha256:{DIGITS}"])
def test_a_flow_is_named_by_its_id_as_well(flow_id: str) -> None:
    wanted = FilterFlags(flow=flow_id).run_filter()
    assert (list(wanted.flow_ids), wanted.flow_name) == ([flow_id], None)


def test_an_age_counts_from_now() -> None:
    before = datetime.now(UTC)
    wanted = FilterFlags(since="2h", until="30m").run_filter()
    assert wanted.created_after is not None
    assert wanted.created_before is not None
    assert before <= wanted.created_after + timedelta(hours=2) <= wanted.created_before + timedelta(minutes=30)


@pytest.mark.parametrize(
    ("since", "fault"),
    [
        ("-1h", "expected an age"),
        ("1y", "expected an age"),
        ("99999999d", "longer ago"),
        ("9999999d", "longer ago"),
        (f"{'9' * 400}w", "longer ago"),
    ],
)
def test_an_age_that_is_malformed_and_one_that_is_too_long_are_told_apart(since: str, fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        FilterFlags(since=since).run_filter()


@pytest.mark.parametrize("flag", ["--since", "--until"])
def test_an_age_below_zero_is_told_as_such(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", flag, "-1h"]) == ExitCode.USAGE
    assert f"{flag}: expected an age" in capsys.readouterr().err


def test_the_first_equals_sign_of_a_label_ends_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert FilterFlags(labels=["a=b=c"]).run_filter().labels == {"a": "b=c"}
    for command in ("list", "cancel", "delete", "submit"):
        run([command, "--help"])
        assert "The first '=' ends the name" in re.sub(r"[^\w'=]+", " ", capsys.readouterr().out)


@pytest.mark.parametrize(
    "flags",
    [
        FilterFlags(since="yesterday"),
        FilterFlags(until="2025-01-15"),
        FilterFlags(since="9999999999w"),
        FilterFlags(since="9999999w"),
        FilterFlags(labels=["a"]),
        FilterFlags(labels=["a=1", "a=2"]),
    ],
)
def test_flags_that_are_not_valid_are_errors_of_use(flags: FilterFlags) -> None:
    with pytest.raises(UsageError):
        flags.run_filter()
