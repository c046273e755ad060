"""Commands that concern many runs: what they show, when they ask, and what they tell at the end."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from gateway.cli.bulk import bounded, show_bulk
from gateway.cli.errors import CommandError, UsageError
from gateway.cli.forms import OutputForm
from gateway.client import (
    BulkProgress,
    ItemStatistics,
    RunFilter,
    RunsClient,
    RunsPage,
    RunState,
    RunStatus,
    Unavailable,
)

NEWEST = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
WANTED = RunFilter(states=[RunState.RUNNING])


class Client:
    """A client that knows so many runs."""

    def __init__(self, total: int) -> None:
        self._total = total

    def runs_page(self, wanted: RunFilter, *, page_size: int, include_total: bool) -> RunsPage:
        assert wanted.states == [RunState.RUNNING]
        assert include_total
        newest = round(NEWEST.timestamp()) * 10**9 + 999
        runs = [
            RunStatus(
                run_id=f"run-{number}",
                flow_id="f",
                flow_name="report\x07",
                status=RunState.RUNNING,
                items=ItemStatistics(total=1),
                created_at_ns=newest - number,
            )
            for number in range(min(page_size, self._total))
        ]
        return RunsPage(runs, "", self._total)


def client(total: int) -> RunsClient:
    return cast("RunsClient", Client(total))


class Terminal(io.StringIO):
    """Standard input on a terminal, where somebody has typed something."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=["y\n", "YES\n"])
def yes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(request.param))


@pytest.mark.usefixtures("yes")
def test_it_shows_how_many_and_the_first_few_and_asks(capsys: pytest.CaptureFixture[str]) -> None:
    certain = bounded(client(1_234), WANTED, "cancel")
    asked = capsys.readouterr()
    lines = asked.err.splitlines()
    assert lines[0] == "would cancel 1,234 runs:"
    assert [line.split()[0] for line in lines[1:6]] == [f"run-{number}" for number in range(5)]
    assert lines[6:] == ["  ... and 1,229 more", "cancel them? [y/N] "]
    assert (asked.out, "\x07" in asked.err) == ("", False)
    # What was submitted after the question is not meant.
    assert certain is not None
    assert certain.created_before == NEWEST + timedelta(microseconds=1)
    assert certain.states == WANTED.states


@pytest.mark.usefixtures("yes")
def test_an_earlier_time_of_the_user_stays() -> None:
    wanted = RunFilter(states=[RunState.RUNNING], created_before=NEWEST)
    assert bounded(client(1), wanted, "cancel") == wanted


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yesterday\n"])
def test_every_other_answer_means_no(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    with pytest.raises(CommandError, match="nothing was done"):
        bounded(client(2), WANTED, "delete")


def test_without_a_terminal_it_refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match="--yes"):
        bounded(client(1), WANTED, "delete")
    assert capsys.readouterr().err.startswith("would delete 1 run:\n  run-0 ")


def test_nothing_is_asked_if_no_run_matches(capsys: pytest.CaptureFixture[str]) -> None:
    assert bounded(client(0), WANTED, "delete") is None
    assert capsys.readouterr().err == "no run matches: there is nothing to delete\n"


PROGRESS = [BulkProgress(3_000, 0, 0), BulkProgress(3_000, 1_500, 1), BulkProgress(3_000, 2_999, 1)]


def shown(progress: Iterator[BulkProgress], *, form: OutputForm = OutputForm.TABLE) -> None:
    show_bulk(progress, "cancelled", form)


def test_the_end_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    shown(iter(PROGRESS))
    assert capsys.readouterr().out == "cancelled 2,999 runs, 1 unchanged\n"


def test_programs_get_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    shown(iter(PROGRESS[:2]), form=OutputForm.JSON)
    assert capsys.readouterr().out.splitlines() == [
        '{"matched":3000,"cancelled":0,"unchanged":0}',
        '{"matched":3000,"cancelled":1500,"unchanged":1}',
    ]


def test_a_call_that_fails_says_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> Iterator[BulkProgress]:
        yield PROGRESS[1]
        raise Unavailable("cut")

    with pytest.raises(Unavailable):
        shown(failing())
    assert capsys.readouterr().err == "cancelled 1,500 of 3,000 runs before it failed\n"
