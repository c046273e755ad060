"""Both journals keep the same promises; the one in a file keeps them over a restart."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import astuple, replace

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.clock import now
from gateway.core.errors import Overloaded, RunNotFound, TooLarge, Unavailable
from gateway.core.model import Blob, BlobType, ItemError, ItemResult, ResultOrder, RunState
from gateway.core.runtime import RESULT_PAGE_BYTES, Page
from gateway.flows.run_ids import RUN_IDS
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.journal import (
    FINISHED_ITEMS,
    UNFINISHED_RUNS,
    Completion,
    Ended,
    FinishedItems,
    Journal,
    UnfinishedRun,
)
from gateway.runtimes.embedded.memory_journal import MemoryJournal
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from gateway.storage.owned_file import StateError
from gateway.storage.sqlite_file import StateFile
from gateway.storage.sqlite_opening import Schema
from tests.support.early_states import VERSION_2

FLOW_ID = "sha256:" + "ab" * 32


def record(run_id: str = "run-1", total: int = 3, key: str | None = None, scope: str = "") -> RunRecord:
    return RunRecord(
        run_id=run_id,
        flow_id=FLOW_ID,
        flow_name="name",
        flow_label=None,
        total=total,
        max_concurrency=None,
        overrides=None,
        variables="{}",
        observability=None,
        scope=scope,
        key=key,
        fingerprint="print",
        created_at=7,
    )


async def unnumbered(journal: Journal, run_id: str) -> tuple[RunRecord, Outcome]:
    """A run that has ended, without the number of this change."""
    kept = await journal.load(run_id)
    assert kept is not None
    assert kept[1] is not None
    return kept[0], replace(kept[1], changed=None)


def success(index: int, value: str = "1") -> ItemResult:
    return ItemResult(item_index=index, status=RunState.SUCCESS, value=value, completed_at=100 + index)


def failure(index: int) -> ItemResult:
    error = ItemError(code=-32100, message="broken", data='{"a":1}')
    return ItemResult(item_index=index, status=RunState.FAILED, error=error, completed_at=100 + index)


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    opened: Journal = MemoryJournal() if request.param == "memory" else await SqliteJournal.open(tmp_path / "state.db")
    yield opened
    await opened.close()


async def test_blobs_keep_their_bytes_and_become_flows_but_never_data_again(journal: Journal) -> None:
    assert await journal.get_blob("b") is None
    await journal.put_blob("b", Blob('{"b": 1e400,  "a":1}', BlobType.DATA))
    await journal.put_blob("b", Blob('{"b": 1e400,  "a":1}', BlobType.FLOW))
    await journal.put_blob("b", Blob('{"b": 1e400,  "a":1}', BlobType.DATA))
    await journal.put_blob("c", Blob(b"\x00\xff", BlobType.DATA))
    assert await journal.get_blob("b") == Blob('{"b": 1e400,  "a":1}', BlobType.FLOW)
    assert await journal.get_blob("c") == Blob(b"\x00\xff", BlobType.DATA)
    assert await journal.peek_blob("c") == Blob(b"\x00\xff", BlobType.DATA)
    assert await journal.peek_blob("none") is None
    for blob_id, content in (("text", '"' + "x" * 100_000 + '"'), ("bytes", bytes(100_002))):
        long = Blob(content, BlobType.DATA)
        await journal.put_blob(blob_id, long)
        assert await journal.peek_blob(blob_id) in {100_002, long}, "what is in memory need not be read"
        assert await journal.get_blob(blob_id) == long


async def test_a_run_is_kept_as_it_was_accepted(journal: Journal) -> None:
    accepted = replace(record(total=2), flow_label="label", overrides="{}", variables='{"v":1}', max_concurrency=4)
    assert await journal.create(accepted, ['"x"', "1e400"]) is None
    assert await journal.load("run-1") == (accepted, None)
    assert await journal.inputs("run-1", 0) == ['"x"', "1e400"]
    assert await journal.inputs("run-1", 1) == ["1e400"]
    assert await journal.load("run-2") is None


async def test_a_taken_key_returns_the_run_that_took_it_and_changes_nothing(journal: Journal) -> None:
    first = record("run-1", key="k", scope="task")
    assert await journal.create(first, ["1", "2", "3"]) is None
    assert await journal.create(record("run-2", key="k", scope="task"), ["4", "5", "6"]) == first
    assert await journal.load("run-2") is None
    assert await journal.create(record("run-3", key="k", scope="other"), ["4", "5", "6"]) is None
    assert await journal.create(record("run-4"), ["4", "5", "6"]) is None
    assert await journal.find("task", "k") == first
    assert await journal.find("task", "other") is None


async def test_results_are_read_in_both_orders_and_agree_with_the_number_of_completions(journal: Journal) -> None:
    await journal.create(record(), ["0", "1", "2"])
    results = [success(2), failure(0), success(1)]
    outcome = Outcome(RunState.FAILED, 2, 1, 999)
    for place, result in enumerate(results):
        last = place == len(results) - 1
        await journal.complete("run-1", [Completion(place, result)], outcome if last else None)

    async def read(order: ResultOrder, start: int, stop: int, first: int, completions: int) -> list[int]:
        page = await journal.results("run-1", Page(order, start, stop, first, completions))
        assert all(result in results for result in page)
        return [result.item_index for result in page]

    assert await read(ResultOrder.BY_COMPLETION, 0, 3, 0, 3) == [2, 0, 1]
    assert await read(ResultOrder.BY_COMPLETION, 0, 3, 1, 2) == [0]
    assert await read(ResultOrder.BY_COMPLETION, 1, 3, 0, 3) == [2, 1]
    assert await read(ResultOrder.BY_INDEX, 0, 3, 0, 3) == [0, 1, 2]
    assert await read(ResultOrder.BY_INDEX, 0, 3, 0, 2) == [0, 2]
    assert await read(ResultOrder.BY_INDEX, 0, 3, 1, 3) == [0, 1]
    assert await read(ResultOrder.BY_INDEX, 1, 3, 0, 2) == [2]
    assert await read(ResultOrder.BY_INDEX, 1, 2, 0, 3) == [1]
    assert await unnumbered(journal, "run-1") == (record(), outcome)
    assert await journal.finished_items("run-1", 0) == FinishedItems(b"\1\1\1", 1)
    assert await journal.finished_items("run-1", 1) == FinishedItems(b"\1\1", 0)


async def test_a_cancel_is_kept_with_the_results_that_there_are_and_a_run_ends_once(journal: Journal) -> None:
    await journal.create(record(), ["0", "1", "2"])
    cancelled = Outcome(RunState.CANCELLED, 1, 0, 9, cancelled=2, started_at=8, cancel_reason="enough")
    await journal.complete("run-1", [Completion(0, success(2))], cancelled)
    assert await unnumbered(journal, "run-1") == (record(), cancelled)
    assert await journal.finished_items("run-1", 0) == FinishedItems(b"\0\0\1", 0)
    await journal.complete("run-1", [], Outcome(RunState.SUCCESS, 3, 0, 10))
    assert await unnumbered(journal, "run-1") == (record(), cancelled)


async def test_a_page_holds_about_a_mebibyte_and_at_least_one_result(journal: Journal) -> None:
    large = '"' + "x" * (RESULT_PAGE_BYTES // 2) + '"'
    await journal.create(record(), ["0", "1", "2"])
    for place in range(3):
        await journal.complete("run-1", [Completion(place, success(place, large))])
    page = Page(ResultOrder.BY_INDEX, 0, 3, 0, 3)
    assert [r.item_index for r in await journal.results("run-1", page)] == [0, 1]
    assert [r.item_index for r in await journal.results("run-1", page._replace(start=2))] == [2]


async def test_a_state_file_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.db"
    first = await SqliteJournal.open(path)
    await first.put_blob("b", Blob("1", BlobType.DATA))
    await first.create(record(), ["0", "1", "2"])
    await first.complete("run-1", [Completion(0, success(1))])
    await first.close()
    second = await SqliteJournal.open(path)
    assert await second.get_blob("b") == Blob("1", BlobType.DATA)
    assert await second.unfinished(0) == [UnfinishedRun(1, "run-1", None, None, 3)]
    assert await second.finished_items("run-1", 0) == FinishedItems(b"\0\1\0", 0)
    await second.create(record(RUN_IDS.next(now())), ["0", "1", "2"])
    assert await second.unfinished(1) == []
    await second.close()


async def test_what_had_not_ended_is_read_in_parts(tmp_path: Path) -> None:
    first = await SqliteJournal.open(tmp_path / "state.db")
    total = FINISHED_ITEMS + 2
    await first.create(record("large", total=total), ["0"] * total)
    nested = [replace(record(f"run-{n}", total=1), root_id="large") for n in range(UNFINISHED_RUNS)]
    await asyncio.gather(*(first.create(run, ["0"]) for run in nested))
    await asyncio.gather(
        first.complete("run-7", [Completion(0, success(0))], Outcome(RunState.SUCCESS, 1, 0, 9)),
        first.complete("large", [Completion(0, failure(FINISHED_ITEMS))]),
    )
    await first.close()
    second = await SqliteJournal.open(tmp_path / "state.db")
    page = await second.unfinished(0)
    assert [page[0], page[1]] == [
        UnfinishedRun(1, "large", None, None, total),
        UnfinishedRun(2, "run-0", "large", None, 1),
    ]
    assert len(page) == UNFINISHED_RUNS
    assert await second.unfinished(page[-1].number) == []
    assert [run.run_id for run in await second.unfinished(page[-3].number)] == ["run-1022", "run-1023"]
    assert await second.finished_items("large", 0) == FinishedItems(b"\0" * FINISHED_ITEMS, 0)
    assert await second.finished_items("large", FINISHED_ITEMS) == FinishedItems(b"\1\0", 1)
    await second.close()


async def test_a_file_of_version_2_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    db = sqlite3.connect(path)
    db.executescript(VERSION_2)
    ended = RunRecord("run-0", "flow", None, None, 1, None, None, "{}", None, "", None, "", 7)
    row = msgspec.msgpack.encode((astuple(ended)[:13], Outcome(RunState.SUCCESS, 1, 0, 9), [(9, "5", None)]))
    db.execute("INSERT INTO ended_runs VALUES ('run-0', ?)", (row,))
    db.commit()
    db.close()
    for _ in range(2):
        journal = await SqliteJournal.open(path)
        old = RunRecord("run-1", "flow", "name", None, 3, None, None, "{}", None, "", "key", "print", 7)
        assert await journal.unfinished(0) == [UnfinishedRun(1, "run-1", None, None, 3)]
        assert await journal.load("run-1") == (old, None)
        assert (old.depth, old.root_id) == (0, None)
        assert await journal.finished_items("run-1", 0) == FinishedItems(b"\0\1\0", 0)
        assert await journal.load("run-0") == (ended, Outcome(RunState.SUCCESS, 1, 0, 9))
        await journal.close()
    journal = await SqliteJournal.open(path)
    nested = replace(record("run-2"), depth=3, root_id="run-1")
    assert await journal.create(nested, ["0", "1", "2"]) is None
    assert await journal.load("run-2") == (nested, None)
    await journal.close()


async def test_an_upgrade_takes_effect_as_a_whole(tmp_path: Path) -> None:
    schema = Schema(1, "CREATE TABLE a (x);")
    await (await StateFile.open(tmp_path / "state.db", schema)).close()
    broken = Schema(2, "", upgrades={1: "CREATE TABLE b (x); CREATE TABLE a (x);"})
    with pytest.raises(StateError, match="table a already exists"):
        await StateFile.open(tmp_path / "state.db", broken)
    mended = Schema(3, "", upgrades={1: "CREATE TABLE b (x);", 2: "CREATE TABLE c (x);"})
    file = await StateFile.open(tmp_path / "state.db", mended)
    tables = await file.read(lambda db: [name for (name,) in db.execute("SELECT name FROM sqlite_schema")])
    assert tables == ["a", "b", "c"]
    await file.close()


async def test_writes_made_at_once_share_commits_and_keep_their_order(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path / "state.db")
    await journal.create(record(total=500), ["0"] * 500)
    done: list[int] = []

    async def complete(place: int) -> None:
        await journal.complete("run-1", [Completion(place, success(499 - place))])
        done.append(place)

    await asyncio.gather(*(complete(place) for place in range(500)))
    assert done == list(range(500))
    assert await journal.finished_items("run-1", 0) == FinishedItems(b"\1" * 500, 0)
    await journal.close()


async def test_all_that_is_written_during_a_commit_shares_the_next_one(tmp_path: Path) -> None:
    file = await StateFile.open(tmp_path / "state.db", Schema(1, "CREATE TABLE a (x);"))
    statements: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(db: sqlite3.Connection) -> None:
        db.set_trace_callback(statements.append)
        begun.set()
        go_on.wait()

    writes = [asyncio.create_task(file.write(slow))]
    await asyncio.to_thread(begun.wait)
    for number in range(5):
        writes.append(asyncio.create_task(file.append("a", (number,))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*writes)
    assert statements == ["COMMIT", "INSERT INTO a VALUES (0), (1), (2), (3), (4)"]
    await file.close()


async def test_closing_commits_what_waits_for_the_commit_before(tmp_path: Path) -> None:
    schema = Schema(1, "CREATE TABLE a (x);")
    file = await StateFile.open(tmp_path / "state.db", schema)
    go_on = threading.Event()
    writes: list[asyncio.Task[object]] = [asyncio.create_task(file.write(lambda _: go_on.wait()))]
    await asyncio.sleep(0)
    writes.append(asyncio.create_task(file.append("a", (1,))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    closing = asyncio.create_task(file.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    await asyncio.gather(*writes)
    again = await StateFile.open(tmp_path / "state.db", schema)
    assert await again.read(lambda db: db.execute("SELECT x FROM a").fetchall()) == [(1,)]
    await again.close()


async def test_an_item_cannot_finish_twice_and_nothing_is_written_after_such_a_defect(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path / "state.db")
    await journal.create(record(), ["0", "1", "2"])
    await journal.complete("run-1", [Completion(0, success(1))])
    with pytest.raises(Unavailable):
        await journal.complete("run-1", [Completion(1, success(1))])
    with pytest.raises(Unavailable):
        await journal.complete("run-1", [Completion(1, success(2))])
    assert await journal.finished_items("run-1", 0) == FinishedItems(b"\0\1\0", 0)
    assert journal.readiness.obstacle == "the state contradicts itself"
    assert "UNIQUE constraint failed: results.item" in str(journal.readiness.defect)
    await journal.close()
    again = await SqliteJournal.open(tmp_path / "state.db")
    await again.complete("run-1", [Completion(1, success(2))])
    await again.close()


async def test_a_write_that_nobody_waits_for_happens_all_the_same(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path / "state.db")
    writing = asyncio.create_task(journal.create(record(), ["0", "1", "2"]))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await journal.put_blob("after", Blob("1", BlobType.DATA))
    assert await journal.load("run-1") is not None
    await journal.close()


async def test_a_state_in_use_is_refused(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path / "state.db")
    with pytest.raises(StateError, match="in use by another process"):
        await SqliteJournal.open(tmp_path / "state.db")
    await journal.close()
    await (await SqliteJournal.open(tmp_path / "state.db")).close()


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"no database, but long enough to look at" * 100)


def _of_another_version(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


@pytest.mark.parametrize("spoil", [_not_a_database, _of_another_version, Path.mkdir])
async def test_a_state_that_is_none_is_refused_with_its_path(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    spoil(path)
    with pytest.raises(StateError, match=str(path)):
        await SqliteJournal.open(path)


async def test_a_full_disk_is_told_and_passes(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path / "state.db")
    await journal.put_blob("a", Blob("1", BlobType.DATA))
    limit = journal._file._writing.execute("PRAGMA page_count").fetchone()[0]
    journal._file._writing.execute(f"PRAGMA max_page_count = {limit}")
    big = Blob('"' + "x" * 1_000_000 + '"', BlobType.DATA)
    with pytest.raises(Unavailable):
        await journal.put_blob("b", big)
    journal._file._writing.execute("PRAGMA max_page_count = 1000000")
    await journal.put_blob("b", big)
    assert await journal.get_blob("b") == big
    await journal.close()


async def test_memory_forgets_the_oldest_finished_runs_and_refuses_what_does_not_fit() -> None:
    journal = MemoryJournal(MemoryAccount(20_000))
    outcome = Outcome(RunState.SUCCESS, 1, 0, 9)
    for number in range(10):
        run_id = f"run-{number}"
        await journal.create(record(run_id, total=1, key=run_id), ['"' + "x" * 1_000 + '"'])
        await journal.complete(run_id, [Completion(0, success(0, '"' + "y" * 1_000 + '"'))], outcome)
    assert await journal.load("run-0") is None
    assert await journal.load("run-9") is not None
    with pytest.raises(RunNotFound):
        await journal.results("run-0", Page(ResultOrder.BY_INDEX, 0, 1, 0, 1))
    assert await journal.create(record("again", total=1, key="run-0"), ["1"]) is None
    with pytest.raises(TooLarge):
        await journal.put_blob("large", Blob("x" * 13_000, BlobType.DATA))
    for number in range(5):
        await journal.create(record(f"unfinished-{number}", total=1), ["1"])
    with pytest.raises(Overloaded):
        await journal.create(record("one-more", total=3), ["1", "2", "3"])


@pytest.mark.parametrize("key", [None, "key"])
async def test_a_run_that_ended_while_it_was_accepted_is_kept_whole(journal: Journal, key: str | None) -> None:
    ended = Ended(Outcome(RunState.FAILED, 1, 1, 999), [success(0, "1e400"), failure(1)])
    accepted = replace(record(total=2, key=key), flow_label="label", max_concurrency=3, created_at=2**60 + 1)
    assert await journal.create(accepted, ["0", "1"], ended) is None
    assert await unnumbered(journal, "run-1") == (accepted, ended.outcome)
    for order in ResultOrder:
        page = Page(order, 0, 2, 0, 2)
        assert await journal.results("run-1", page) == ended.results
        assert await journal.results("run-1", page._replace(start=1)) == [failure(1)]
        assert await journal.results("run-1", page._replace(completions=1)) == [success(0, "1e400")]


async def test_a_run_without_items_ends_while_it_is_accepted(journal: Journal) -> None:
    ended = Ended(Outcome(RunState.SUCCESS, 0, 0, 7), [])
    await journal.create(record(total=0), [], ended)
    assert await unnumbered(journal, "run-1") == (record(total=0), ended.outcome)
    assert await journal.results("run-1", Page(ResultOrder.BY_INDEX, 0, 0, 0, 0)) == []


async def test_runs_that_ended_at_the_same_time_are_all_kept(journal: Journal) -> None:
    run_ids = [f"run-{number}" for number in range(150)]
    ended = [Ended(Outcome(RunState.SUCCESS, 1, 0, number), [success(0, str(number))]) for number in range(150)]
    creating = (journal.create(record(run_id, total=1), ["0"], end) for run_id, end in zip(run_ids, ended, strict=True))
    assert await asyncio.gather(*creating) == [None] * 150
    for run_id, end in zip(run_ids, ended, strict=True):
        assert await unnumbered(journal, run_id) == (record(run_id, total=1), end.outcome)
        assert await journal.results(run_id, Page(ResultOrder.BY_INDEX, 0, 1, 0, 1)) == end.results


async def test_every_opening_of_a_state_is_an_epoch_of_its_own(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        journal = await SqliteJournal.open(tmp_path / "state.db")
        epochs.append(journal.epoch)
        await journal.close()
    assert epochs == sorted(set(epochs))
