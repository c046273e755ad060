"""What goes on behind `top`: a set that is followed in a thread, and figures that are read again and again."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.cli.gateway_flags import GatewayFlags
from gateway.cli.metrics_source import MetricsSource
from gateway.cli.top_readers import FiguresReader, RunsReader
from gateway.client import (
    CaughtUp,
    ItemStatistics,
    PermissionDenied,
    RunFilter,
    RunSetEvent,
    RunState,
    RunStatus,
    SetEvent,
    SetUpdate,
)
from tests.support.metrics_page import metrics_page

RUN = RunStatus("r", "f", RunState.RUNNING, ItemStatistics(total=1), created_at_ns=0)


class ScriptedSet:
    """A client whose set has some events, and then fails, or goes on for ever."""

    def __init__(self, events: list[RunSetEvent], failure: Exception | None = None) -> None:
        self._events = events
        self._failure = failure
        self.closed = threading.Event()

    def watch_set(self, _wanted: RunFilter) -> Iterator[RunSetEvent]:
        yield from self._events
        if self._failure is not None:
            raise self._failure
        self.closed.wait()

    def close(self) -> None:
        self.closed.set()


def reader(*given: Any) -> tuple[ScriptedSet, RunsReader]:
    client = ScriptedSet(*given)
    return client, RunsReader(client, RunFilter())  # type: ignore[arg-type]


def test_a_set_is_followed_until_the_command_ends() -> None:
    client, runs = reader([SetUpdate(SetEvent.ADDED, "r", RUN, 1, b"t"), CaughtUp(b"t", reconnected=True)])
    with runs:
        assert runs.caught_up.wait()
        assert runs.runs.seen(5).runs == [RUN]
        assert runs.note == "reconnected"
        assert runs.failure is None
    assert client.closed.is_set()
    assert runs.failure is None


def test_what_ends_the_following_is_kept() -> None:
    _, runs = reader([], PermissionDenied("no"))
    with runs:
        assert runs.caught_up.wait(), "nobody waits for ever"
        assert str(runs.failure) == "no"
        assert runs.note is None


def test_figures_come_back_when_the_page_does() -> None:
    with metrics_page("runs_gateway_items_executing 7\n") as page:
        page.status = 503
        figures = FiguresReader(MetricsSource(page.url, GatewayFlags()), 0.01, "")
        with figures:
            assert figures.tried.wait()
            assert figures.why_none == f"no figures: {page.url}: the answer is 503 Service Unavailable (--metrics-url)"
            figures.tried.clear()
            page.status = 200
            while figures.figures is None:
                assert figures.tried.wait()
            assert figures.figures.items["executing"] == 7
            assert figures.why_none is None


def test_without_a_source_there_is_nothing_to_wait_for() -> None:
    with FiguresReader(None, 1, "no figures: off") as figures:
        assert figures.tried.is_set()
        assert (figures.figures, figures.why_none) == (None, "no figures: off")


@pytest.mark.parametrize("number", [10])
def test_changes_are_followed_with_pauses(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.top_readers._BURST", 0.0)
    monkeypatch.setattr("gateway.cli.top_readers._SHARE", 1.0)
    events: list[RunSetEvent] = [CaughtUp(b"t")]
    events += [SetUpdate(SetEvent.CHANGED, "r", RUN, revision, b"t") for revision in range(number)]
    _, runs = reader(events, PermissionDenied("the end"))
    with runs:
        runs._thread.join()
        assert runs.runs.seen(5).runs == [RUN]
        assert str(runs.failure) == "the end"
