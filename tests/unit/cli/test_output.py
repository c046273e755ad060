"""Events of a set as lines of JSON."""

import json

import pytest

from gateway.cli.forms import OutputForm
from gateway.cli.output import show_set_lines
from gateway.client import CaughtUp, ItemStatistics, RunState, RunStatus, SetEvent, SetUpdate


def test_events_of_a_set_are_what_runs_watch_tells(capsys: pytest.CaptureFixture[str]) -> None:
    run = RunStatus("r", "f", RunState.RUNNING, ItemStatistics(total=1), created_at_ns=0)
    show_set_lines(
        [
            SetUpdate(SetEvent.ADDED, "r", run, 7, b"1", restarted=True),
            CaughtUp(b"2"),
            SetUpdate(SetEvent.LEFT, "r", None, 0, b"3", reconnected=True),
        ],
        OutputForm.JSON,
    )
    printed = capsys.readouterr()
    added, caught_up, left = map(json.loads, printed.out.splitlines())
    assert (added.pop("run")["status"], added) == (
        "running",
        {"event": "added", "runId": "r", "revision": 7, "restarted": True},
    )
    assert (caught_up, left) == ({"event": "caughtUp"}, {"event": "left", "runId": "r"})
    assert printed.err.splitlines() == [
        "started anew: the gateway did not know where this watch had stopped",
        "reconnected",
    ]
