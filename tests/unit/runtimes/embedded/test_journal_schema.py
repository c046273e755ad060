"""State files that earlier versions have written are brought up, and everything in them goes on."""

import asyncio
import json
import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.core.errors import BlobNotFound, IdempotencyConflict
from gateway.core.model import Blob, BlobType, GetParams, ItemStatistics, RunState, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.runtimes.embedded.changes import Tombstone
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from gateway.storage.owned_file import StateError
from tests.support.early_states import VERSION_2
from tests.support.embedded import Embedded, opened

STATES: Final = Path(__file__).parents[3] / "data/states"

WRITTEN: Final[dict[str, Any]] = json.loads((STATES / "schema_5.json").read_text())
RUNS: Final[dict[str, str]] = WRITTEN["runs"]

ENDED: Final = {
    "ended": (RunState.SUCCESS, 2, "first", ['"a"', '"b"']),
    "ended_with_key": (RunState.SUCCESS, 1, None, ["1"]),
    "failed": (RunState.FAILED, 1, "first", [None]),
    "failed_with_key": (RunState.FAILED, 2, None, [None, None]),
    "executed": (RunState.SUCCESS, 2, "second", None),
    "without_name": (RunState.SUCCESS, 1, None, ["1"]),
    "many_items": (RunState.SUCCESS, 40, None, [str(index) for index in range(40)]),
    "nested": (RunState.SUCCESS, 1, None, ["1"]),
    "nested_deeper": (RunState.SUCCESS, 1, None, None),
}
"""The runs of the file that have ended: state, items, label, and values."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A file that the version before wrote, with every kind of row."""
    return Path(shutil.copy(STATES / "schema_5.db", tmp_path / "state.db"))


async def status(embedded: Embedded, name: str, *, wait: bool = False) -> RunStatus:
    return await embedded.service.get(GetParams(run_id=RUNS[name], wait=wait, include_results=True))


async def test_everything_in_a_file_of_the_version_before_is_read(state: Path) -> None:
    async with opened(state) as embedded:
        for name, (run_state, total, label, values) in ENDED.items():
            run = await status(embedded, name)
            assert (run.status, run.items.total, run.flow_label) == (run_state, total, label)
            assert run.results is not None
            assert len(run.results) == total
            assert values is None or [result.value for result in run.results] == values
        for flow_id in WRITTEN["flows"]:
            assert (await embedded.runtime.get_blob(flow_id)).type is BlobType.FLOW
        assert await embedded.runtime.get_blob(WRITTEN["data"]) == Blob('{"some":"data"}', BlobType.DATA)
        assert await embedded.runtime.get_blob(WRITTEN["raw"]) == Blob(b"\x00\xff", BlobType.DATA)
        nested = await status(embedded, "nested_deeper")
        assert (nested.root_run_id, nested.depth) == (RUNS["executed"], 2)


async def test_unfinished_runs_of_the_version_before_go_on(state: Path) -> None:
    async with opened(state) as embedded:
        before = await status(embedded, "unfinished")
        assert before.items == ItemStatistics(total=4_200, success=9, failed=1, pending=4_190)
        await embedded.start()
        run = await status(embedded, "unfinished", wait=True)
        assert run.items == ItemStatistics(total=4_200, success=4_199, failed=1)
        assert run.results is not None
        assert [result.value for result in run.results[:4_199]] == [str(index) for index in range(4_199)]
        nested = await status(embedded, "unfinished_nested", wait=True)
        assert (nested.status, nested.root_run_id) == (RunState.SUCCESS, RUNS["executed"])


async def test_keys_of_the_version_before_count(state: Path) -> None:
    async with opened(state) as embedded:
        await embedded.start()
        flow = {"name": "identity", "output": {"$input": "$"}}
        again = await embedded.submit(flow, 1, idempotency_key="key")
        assert again.run_id == RUNS["ended_with_key"]
        with pytest.raises(IdempotencyConflict):
            await embedded.submit(flow, 2, idempotency_key="key")


async def test_the_upgrade_has_a_line_in_the_log(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await (await SqliteJournal.open(state)).close()
    assert [record.message for record in caplog.records] == [
        f"the state {state} is brought from schema 5 to 6",
        f"the state {state} has schema 6 now: {len(RUNS)} runs are indexed",
        f"the state {state} is brought from schema 6 to 7",
        f"the state {state} has schema 7 now: 1,101 bytes are counted",
    ]


async def test_an_upgrade_that_is_cut_off_is_made_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("gateway.runtimes.embedded.postings.insert_rows", broken)
        with pytest.raises(StateError, match="the disk is full"):
            await SqliteJournal.open(state)
    with closing(sqlite3.connect(state)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (5,)
        assert db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'postings'").fetchone() is None
    journal = await SqliteJournal.open(state)
    assert await journal.load(RUNS["ended"]) is not None
    await journal.close()


async def test_an_early_version_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_2)
    journal = await SqliteJournal.open(path)
    assert await journal.load("run-1") is not None
    await journal.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM early_runs").fetchall() == [(0, "run-1")]
        assert db.execute("SELECT DISTINCT key FROM postings").fetchall() == [(0,)]


def test_a_newer_schema_is_refused_in_one_line(state: Path) -> None:
    with closing(sqlite3.connect(state)) as db:
        db.execute("PRAGMA user_version = 8")
    content = state.read_bytes()
    with pytest.raises(StateError) as refused:
        asyncio.run(SqliteJournal.open(state))
    assert str(refused.value) == (
        f"the state {state} was written for another runtime or by another version of runs-gateway (schema 8)"
    )
    assert state.read_bytes() == content


LATEST: Final[dict[str, Any]] = json.loads((STATES / "schema_6.json").read_text())
"""What is in the file of the latest version before, which knew no namespaces."""


@pytest.fixture
def latest(tmp_path: Path) -> Path:
    return Path(shutil.copy(STATES / "schema_6.db", tmp_path / "latest.db"))


async def test_what_was_there_before_namespaces_is_in_the_default_one(latest: Path) -> None:
    async with opened(latest) as embedded:
        conditions: tuple[dict[str, Any], ...] = (
            {},
            {"labels": {"team": "a"}},
            {"flow_name": "identity"},
            {"flow_ids": (LATEST["flows"][0],)},
        )
        for wanted in conditions:
            runs = [
                await embedded.runtime.count_runs(RunFilter(**wanted, namespace=name)) for name in (None, "default")
            ]
            assert runs[0] == runs[1] > 0
            assert await embedded.runtime.count_runs(RunFilter(**wanted, namespace="team-a")) == 0
        page = await embedded.runtime.list_runs(RunFilter(namespace="default"), RunOrder.OLDEST_FIRST, "", 100)
        assert {run.run_id for run in page.runs} >= set(LATEST["runs"].values())
        assert {run.namespace for run in page.runs} == {"default"}
        for blob_id in (*LATEST["flows"], LATEST["data"], LATEST["raw"]):
            assert await embedded.runtime.get_blob(blob_id) == await embedded.runtime.get_blob(blob_id, "default")
            with pytest.raises(BlobNotFound):
                await embedded.runtime.get_blob(blob_id, "team-a")
        changes = await embedded.journal.read_changes(0, 1 << 60)
        gone = [change.run.status() for change in changes.changes if isinstance(change.run, Tombstone)]
        assert [(run.run_id, run.namespace) for run in gone] == [(LATEST["deleted"], "default")]


async def test_runs_from_before_namespaces_go_on_and_go(latest: Path) -> None:
    async with opened(latest) as embedded:
        flow = {"name": "identity", "output": {"$input": "$"}}
        await embedded.start()
        for name in ("unfinished", "unfinished_nested"):
            run = await embedded.wait(LATEST["runs"][name])
            assert run.status is RunState.SUCCESS
        again = await embedded.submit(flow, 1, idempotency_key="key")
        assert again.run_id == LATEST["runs"]["ended_with_key"]
        elsewhere = await embedded.submit_in("team-a", flow, 1)
        assert await embedded.runtime.count_runs(RunFilter(namespace="team-a")) == 1
        page = await embedded.runtime.list_runs(RunFilter(namespace="default"), RunOrder.OLDEST_FIRST, "", 100)
        for run in page.runs:
            await embedded.runtime.delete(run.run_id, cancel=False)
        assert await embedded.runtime.count_runs(RunFilter()) == 1
        assert (await embedded.runtime.get(elsewhere.run_id)).status.namespace == "team-a"
        blobs = [(await embedded.runtime.get_blob(blob_id)).content for blob_id in LATEST["flows"]]
        assert sum(map(len, blobs)) <= embedded.runtime.stored_bytes("default") < 1_000
