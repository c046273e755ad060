"""What has just happened on a gateway."""

import pytest
from msgspec.structs import replace

from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal import recent_here
from gateway.runtimes.temporal.recent_here import RecentHere

RECORD = RunRecord("r", "f", None, None, 1, None, None, "{}", None, "", None, "", 1)
LATER = replace(RECORD, created_at=2)


def created(recent: RecentHere) -> list[RunRecord]:
    return list(recent.created(0, 1 << 62))


def test_a_deleted_run_is_not_one_that_has_been_made_later_with_its_id() -> None:
    recent = RecentHere()
    recent.changed(RECORD)
    recent.deleted("r", 1)
    assert created(recent) == []
    recent.changed(LATER)
    recent.deleted("r", 1)
    assert (recent.was_deleted(RECORD), recent.was_deleted(LATER)) == (True, False)
    assert created(recent) == [LATER]


def test_what_happened_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = RecentHere()
    recent.changed(LATER)
    recent.deleted("other", 1)
    monkeypatch.setattr(recent_here, "RECENT_SECONDS", -1.0)
    assert created(recent) == []
    assert recent.was_deleted(replace(RECORD, run_id="other"))
    monkeypatch.setattr(recent_here, "DELETED_SECONDS", -1.0)
    assert recent.since() is None
    assert not recent.was_deleted(replace(RECORD, run_id="other"))


def test_what_is_noted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_here, "RECENT", 2)
    recent = RecentHere()
    for run_id in "abc":
        recent.changed(replace(RECORD, run_id=run_id))
        recent.deleted(f"deleted {run_id}", 1)
    assert [run.run_id for run in created(recent)] == ["b", "c"]
    gone = [run_id for run_id in "abc" if recent.was_deleted(replace(RECORD, run_id=f"deleted {run_id}"))]
    assert gone == ["b", "c"]
