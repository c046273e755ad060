"""Notes of runs that execute elsewhere: in memory and in a file they say the same; those in a file hold for ever."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.storage import run_notes
from gateway.storage.idempotency import Keys
from gateway.storage.run_notes import RunNote, SubmitNote
from gateway.storage.sqlite_file import StateFile

RUN, OTHER, THIRD = (f"01a20377-4792-7b82-a1a4-f86edb2cd47{digit}" for digit in "345")
NOTE = SubmitNote("nightly", {"team": "x"}, RUN, RUN, 1)


def ended(run_id: str, state: RunState = RunState.CANCELLED, reason: str | None = None) -> RunStatus:
    items = ItemStatistics(total=2, cancelled=2)
    fields = {"flow_id": f"sha256:{'a' * 64}", "created_at": 10**18, "completed_at": 10**18 + 1}
    return RunStatus(run_id=run_id, status=state, items=items, cancel_reason=reason, **fields)  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "file"])
async def keys(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Keys]:
    keys = await Keys.open(":memory:" if request.param == "memory" else str(tmp_path / "keys.db"))
    yield keys
    await keys.close()


async def test_what_was_submitted_and_how_it_ended_are_kept_beside_each_other(keys: Keys) -> None:
    notes = keys.notes
    assert await notes.of([RUN, OTHER]) == {}
    for first_ended in (True, False):
        run_id = OTHER if first_ended else THIRD
        if first_ended:
            await notes.ended(ended(run_id))
        await notes.submitted(run_id, NOTE)
        assert await notes.ended(ended(run_id, RunState.SUCCESS)) == ended(
            run_id, list(RunState)[4 if first_ended else 2]
        )
    assert await notes.of([RUN, OTHER, THIRD]) == {
        OTHER: RunNote(NOTE, ended(OTHER)),
        THIRD: RunNote(NOTE, ended(THIRD, RunState.SUCCESS)),
    }
    assert sorted(await notes.children(RUN)) == [OTHER, THIRD]
    assert await notes.children(OTHER) == []


async def test_the_first_end_stays(keys: Keys) -> None:
    first = ended(RUN, reason="first")
    assert await keys.notes.ended(first) == first
    assert await keys.notes.ended(ended(RUN, reason="second")) == first
    assert (await keys.notes.of([RUN]))[RUN].ended == first


async def test_a_file_keeps_notes_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_notes, "CACHED_NOTES", 1)
    path = tmp_path / "keys.db"
    keys = await Keys.open(str(path))
    for run_id in (RUN, OTHER):
        await keys.notes.submitted(run_id, NOTE)
        await keys.notes.ended(ended(run_id))
    await keys.close()
    keys = await Keys.open(str(path))
    try:
        for _ in range(2):
            found = await keys.notes.of([RUN, OTHER, THIRD])
            assert found == {run_id: RunNote(NOTE, ended(run_id)) for run_id in (RUN, OTHER)}
    finally:
        await keys.close()


async def test_a_run_that_has_just_begun_is_not_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = await Keys.open(str(tmp_path / "keys.db"))
    read: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "read", lambda file, operation: read.append(operation))
        keys.notes.begun(RUN)
        assert await keys.notes.of([RUN]) == {}
    assert read == []
    await keys.notes.submitted(RUN, NOTE)
    keys.notes.begun(RUN)
    assert await keys.notes.of([RUN]) == {RUN: RunNote(NOTE)}
    await keys.close()


async def test_notes_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_notes, "MEMORY_NOTES", 3)
    monkeypatch.setattr(run_notes, "MEMORY_BYTES", 100_000)
    notes = run_notes.MemoryNotes()
    ids = [f"run {number}" for number in range(6)]
    for run_id in ids:
        await notes.submitted(run_id, NOTE)
    assert list(await notes.of(ids)) == ids[3:]
    assert await notes.children(RUN) == ids[3:]
    large = SubmitNote(labels={str(number): "x" * 255 for number in range(32)})
    for run_id in ids:
        await notes.submitted(run_id, large)
        await notes.submitted(run_id, SubmitNote(labels={"x": "y" * 60_000}))
    assert list(await notes.of(ids)) == ids[5:]
