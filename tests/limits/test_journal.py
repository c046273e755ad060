"""What one client asks of the journal costs a bounded amount between two turns of everybody else."""

import asyncio
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import Unavailable
from gateway.core.model import Blob, BlobType, ItemResult, JsonText, ResultOrder, RunState
from gateway.core.packed_texts import PackedTexts
from gateway.core.runtime import RESULT_PAGE_LENGTH, Page
from gateway.flows.run_ids import RUN_IDS
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded import removals, result_rows
from gateway.runtimes.embedded.arrivals import SLICE_TEXT
from gateway.runtimes.embedded.journal import RUN_ROWS, Completion, Ended, UnfinishedRun
from gateway.runtimes.embedded.result_rows import WINDOW
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from tests.support.early_states import VERSION_2

TEXT = '"' + "x" * 509 + '"'
SLICE = SLICE_TEXT // len(TEXT)
"""How many such inputs a transaction writes, about."""

MANY = 5 * SLICE + 1
STEPS_OF_ROW = 40
"""How many steps of SQLite's machine a row takes at most that is returned."""


def record(run_id: str, total: int = MANY, key: str | None = None) -> RunRecord:
    return RunRecord(run_id, "flow", None, None, total, None, None, "{}", None, "", key, "print", 7)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteJournal]:
    journal = await SqliteJournal.open(path)
    try:
        yield journal
    finally:
        await journal.close()


class Watched(Sequence[JsonText]):
    """Inputs that tell how many of them were read by the end of each transaction of somebody else."""

    def __init__(self, total: int, text: JsonText = TEXT) -> None:
        self.text, self.total, self.reads = text, total, 0

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: Any) -> Any:
        start, stop, _ = index.indices(self.total)
        assert start == self.reads, "inputs are read in order"
        self.reads = stop
        return [self.text] * (stop - start)


async def reads_between_commits(journal: SqliteJournal, inputs: Watched, creating: Awaitable[object]) -> list[int]:
    """How many inputs were read between the commits of another client, one after the other."""
    task = asyncio.ensure_future(creating)
    reads = [0]
    for number in count():
        await journal.put_blob(f"blob-{number}", Blob("1", BlobType.DATA))
        reads.append(inputs.reads)
        if task.done():
            break
    await task
    return [after - before for before, after in pairwise(reads)]


async def test_others_write_between_the_transactions_of_a_large_submit(tmp_path: Path) -> None:
    async with opened(tmp_path / "state.db") as journal:
        many = Watched(MANY)
        steps = await reads_between_commits(journal, many, journal.create(record("many"), many))
        assert max(steps) <= 2 * SLICE
        assert await number_of_inputs(journal) == MANY
        large = Watched(64, '"' + "x" * (SLICE_TEXT // 4) + '"')
        large_run = record("large", total=64)
        steps = await reads_between_commits(journal, large, journal.create(large_run, [large.text] * 64))
        assert await journal.load("many") == (record("many"), None)
        assert len(await journal.inputs("many", MANY - 10)) == 10
        assert await journal.load("large") == (large_run, None)


async def test_a_large_submit_is_seen_at_its_end_only(tmp_path: Path) -> None:
    async with opened(tmp_path / "state.db") as journal:
        creating = asyncio.create_task(journal.create(record("run", key="key"), [TEXT] * MANY))
        while await rows(journal, "inputs") == 0:
            pass
        assert not creating.done()
        assert await journal.load("run") is None
        assert await rows(journal, "runs") == 0
        assert await journal.inputs("run", 0) == []
        await creating
        assert await journal.load("run") == (record("run", key="key"), None)


@pytest.mark.parametrize("others", [MANY, 1])
async def test_of_two_submits_with_one_key_one_is_accepted(others: int, tmp_path: Path) -> None:
    async with opened(tmp_path / "state.db") as journal:
        first, second = record("first", key="key"), record("second", total=others, key="key")
        creating = [journal.create(first, [TEXT] * MANY), journal.create(second, ["2"] * others)]
        assert await asyncio.gather(*creating) == [None, first]
        assert await journal.load("first") == (first, None)
        assert await rows(journal, "runs") == 1
        await nothing_left(journal, MANY)


async def test_a_submit_that_is_cut_off_leaves_nothing_and_its_key_is_free(tmp_path: Path) -> None:
    async with opened(tmp_path / "state.db") as journal:
        creating = asyncio.create_task(journal.create(record("run", key="key"), [TEXT] * MANY))
        while await rows(journal, "inputs") == 0:
            pass
        journal.drain()
        with pytest.raises(Unavailable):
            await creating
        assert await rows(journal, "runs") == 0
    async with opened(tmp_path / "state.db") as journal:
        assert await journal.create(record("again", key="key"), [TEXT] * MANY) is None
        await nothing_left(journal, MANY)
        assert len(await journal.inputs("again", MANY - 1)) == 1


async def test_a_full_disk_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "RETRY_SECONDS", 0.0)
    async with opened(tmp_path / "state.db") as journal:
        await journal.put_blob("blob", Blob("1", BlobType.DATA))
        writing = journal._file._writing
        pages = writing.execute("PRAGMA page_count").fetchone()[0]
        writing.execute(f"PRAGMA max_page_count = {pages + 30}")
        with pytest.raises(Unavailable):
            await journal.create(record("run"), [TEXT] * MANY)
        writing.execute("PRAGMA max_page_count = 1000000")
        await nothing_left(journal, 0)


CHILD = """
import asyncio, sys
from pathlib import Path
from typing import Any
from tests.limits.test_journal import MANY, TEXT, record
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from tests.support.early_states import VERSION_2

async def main():
    journal = await SqliteJournal.open(Path(sys.argv[1]))
    class Inputs(list):
        def __getitem__(self, index):
            if index.stop >= MANY:
                print("almost", flush=True)
                sys.stdin.read()
            return super().__getitem__(index)
    await journal.create(record("run", key="key"), Inputs([TEXT] * MANY))

asyncio.run(main())
"""


async def test_a_process_that_is_killed_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(path), stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"almost\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    process._transport.close()  # type: ignore[attr-defined]
    with sqlite3.connect(path) as db:
        assert 4 * SLICE <= db.execute("SELECT sum(number) FROM inputs").fetchone()[0] < MANY
    db.close()
    async with opened(path) as journal:
        assert await journal.unfinished(0) == []
        assert await journal.create(record("again", key="key"), [TEXT] * MANY) is None
        await nothing_left(journal, MANY)
        assert await journal.inputs("again", MANY - 1) == [TEXT]


async def test_a_state_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as db:
        db.executescript(VERSION_2)
    db.close()
    async with opened(path) as journal:
        assert await journal.unfinished(0) == [UnfinishedRun(1, "run-1", None, None, 3)]
        assert await journal.inputs("run-1", 0) == ["0", "1", "2"]
        assert await journal.create(record("many"), [TEXT] * MANY) is None


async def rows(journal: SqliteJournal, table: str) -> int:
    return await journal._file.read(lambda db: int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]))


async def number_of_inputs(journal: SqliteJournal) -> int:
    query = "SELECT coalesce(sum(number), 0) FROM inputs"
    return await journal._file.read(lambda db: int(db.execute(query).fetchone()[0]))


async def nothing_left(journal: SqliteJournal, inputs: int) -> None:
    """Wait until the file holds the inputs of runs that have been accepted, and no others."""
    while await rows(journal, "arriving"):
        pass
    assert await number_of_inputs(journal) == inputs


async def test_a_million_small_inputs_are_a_few_rows(tmp_path: Path) -> None:
    """And one transaction: a statement for each input would take longer than all the rest of a submit."""
    packed = PackedTexts()
    for _ in range(250):
        packed.append_chunk(",".join("1234567"[: 1 + index % 7] for index in range(1_600)), 1_600)
    total = 250 * 1_600
    async with opened(tmp_path / "state.db") as journal:
        statements: list[str] = []
        journal._file._writing.set_trace_callback(statements.append)
        assert await journal.create(record("run", total=total), packed) is None
        journal._file._writing.set_trace_callback(None)
        assert len(statements) <= 300
        assert await rows(journal, "inputs") == 250
        index = 0
        while page := await journal.inputs("run", index):
            assert page == packed[index : index + len(page)]
            assert len(page) <= 2 * RESULT_PAGE_LENGTH + 1_600
            index += len(page)
        assert index == total
        assert await journal.inputs("run", total - 3) == packed[total - 3 :]


async def test_runs_with_keys_that_are_accepted_together_are_a_few_statements(tmp_path: Path) -> None:
    """Of runs with the same key, one is accepted, and the others are told of it; the same in a later batch."""
    number = 50
    ended = Ended(
        Outcome(RunState.SUCCESS, 1, 0, 1),
        [ItemResult(item_index=0, status=RunState.SUCCESS, value="1", completed_at=1)],
    )

    async def create(names: Sequence[int]) -> list[RunRecord | None]:
        runs = [record(RUN_IDS.next(1 << 60), total=1, key=str(name)) for name in names]
        ids.extend(run.run_id for run in runs)
        return await asyncio.gather(*(journal.create(run, (), ended) for run in runs))

    ids: list[str] = []
    async with opened(tmp_path / "state.db") as journal:
        assert await journal.create(record("unfinished", total=1, key="3"), ["1"]) is None
        assert await journal.create(record("ended", total=1, key="ended"), (), ended) is None
        statements: list[str] = []
        journal._file._writing.set_trace_callback(statements.append)
        answers = await create([*range(number), *range(5)])
        journal._file._writing.set_trace_callback(None)
        assert len(statements) <= 9
        assert [taken and taken.run_id for taken in answers] == [
            *("unfinished" if name == 3 else None for name in range(number)),
            *("unfinished" if name == 3 else ids[name] for name in range(5)),
        ]
        assert [taken and taken.key for taken in await create([number, *range(number)])] == [
            None,
            *map(str, range(number)),
        ]
        assert await rows(journal, "runs") == number + 2
        assert await rows(journal, "results") == number + 1
        page = Page(ResultOrder.BY_INDEX, 0, 1, 0, 1)
        assert await journal.results(ids[number - 1], page) == list(ended.results)


class Steps:
    """Counts the steps of each read of a journal."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.reads: list[int] = []
        self._db = journal._file._reading
        self._db.set_progress_handler(self._step, 1)
        self._steps = 0
        read = journal._file.read

        async def counted(operation: Callable[[sqlite3.Connection], Any]) -> Any:
            def counting(db: sqlite3.Connection) -> Any:
                self._steps = 0
                try:
                    return operation(db)
                finally:
                    self.reads.append(self._steps)

            return await read(counting)

        setattr(journal._file, "read", counted)  # noqa: B010 - not a part of its type.

    def _step(self) -> int:
        self._steps += 1
        return 0


async def with_results(journal: SqliteJournal, total: int, order: str) -> None:
    """A run whose items have finished in the order of their indexes, or from the last one to the first."""
    await journal.create(record("run", total=total), ["1"])

    def fill(db: sqlite3.Connection) -> None:
        indexes = range(total) if order == "forwards" else range(total - 1, -1, -1)
        results = (
            ItemResult(item_index=index, status=RunState.SUCCESS, value="1", completed_at=1) for index in indexes
        )
        result_rows.insert_results(db, ((RUN_ROWS, Completion(place, result)) for place, result in enumerate(results)))

    await journal._file.write(fill)


TOTAL = 20 * WINDOW
FORGED = [
    Page(ResultOrder.BY_INDEX, 0, TOTAL, TOTAL - 1, TOTAL),
    Page(ResultOrder.BY_INDEX, 0, TOTAL, TOTAL // 2, TOTAL),
    Page(ResultOrder.BY_INDEX, 0, TOTAL, 0, TOTAL),
    Page(ResultOrder.BY_INDEX, 0, TOTAL, TOTAL - WINDOW - 1, TOTAL),
    Page(ResultOrder.BY_INDEX, TOTAL // 2, TOTAL, 0, TOTAL // 2),
    Page(ResultOrder.BY_INDEX, TOTAL // 2, TOTAL, TOTAL // 2, TOTAL - 1),
    Page(ResultOrder.BY_INDEX, TOTAL - 1, TOTAL, 0, TOTAL),
    Page(ResultOrder.BY_INDEX, TOTAL - 1, TOTAL, 0, 1),
    Page(ResultOrder.BY_COMPLETION, 0, TOTAL, TOTAL - 1, TOTAL),
    Page(ResultOrder.BY_COMPLETION, TOTAL - 1, TOTAL, 0, TOTAL),
    Page(ResultOrder.BY_COMPLETION, 0, 1, 0, TOTAL),
]


@pytest.mark.parametrize("order", ["forwards", "backwards"])
async def test_a_read_looks_at_few_rows_whatever_a_position_says(order: str, tmp_path: Path) -> None:
    async with opened(tmp_path / "state.db") as journal:
        await with_results(journal, TOTAL, order)
        steps = Steps(journal)
        for page in FORGED:
            steps.reads.clear()
            results = await journal.results("run", page)
            expected = [
                item
                for place, item in enumerate(range(TOTAL) if order == "forwards" else range(TOTAL - 1, -1, -1))
                if page.start <= item < page.stop and page.first <= place < page.completions
            ]
            if page.order is ResultOrder.BY_INDEX:
                expected.sort()
            found = [result.item_index for result in results]
            assert found == expected[: len(found)]
            assert bool(found) == bool(expected)
            assert max(steps.reads) <= STEPS_OF_ROW * RESULT_PAGE_LENGTH + 12 * WINDOW


async def test_finished_items_and_inputs_are_read_in_parts(tmp_path: Path) -> None:
    async with opened(tmp_path / "state.db") as journal:
        await with_results(journal, TOTAL, "forwards")
        steps = Steps(journal)
        found = 0
        while found < TOTAL:
            items = await journal.finished_items("run", found)
            assert items == (b"\1" * len(items.done), 0)
            found += len(items.done)
        assert max(steps.reads) <= STEPS_OF_ROW * WINDOW


async def test_other_reads_come_between_those_of_a_forged_position(tmp_path: Path) -> None:
    """However many clients ask for such pages, one of their further reads at most is before that of another client."""
    async with opened(tmp_path / "state.db") as journal:
        await with_results(journal, TOTAL, "forwards")
        await journal.put_blob("blob", Blob("1", BlobType.DATA))
        page = Page(ResultOrder.BY_INDEX, 0, TOTAL, TOTAL - WINDOW - 1, TOTAL)
        await journal.results("run", page)
        steps = Steps(journal)
        forged = [asyncio.create_task(journal.results("run", page)) for _ in range(20)]
        while len(steps.reads) <= len(forged):
            await journal.get_blob("blob")
        before = len(steps.reads)
        await journal.get_blob("blob")
        assert len(steps.reads) - before <= 4
        assert not all(task.done() for task in forged)
        for task in forged:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*forged)


async def test_long_texts_are_written_and_read_in_parts(tmp_path: Path) -> None:
    """To bind a text as a whole converts it while nothing else runs; the string keeps its other form from then on."""
    text = '"' + "é" * (3 << 20) + '"'
    size = sys.getsizeof(text)
    result = ItemResult(item_index=0, status=RunState.SUCCESS, value=text, completed_at=1)
    outcome = Outcome(RunState.SUCCESS, 2, 0, 1)
    async with opened(tmp_path / "state.db") as journal:
        await journal.put_blob("blob", Blob(text, BlobType.DATA))
        await journal.create(record("run", total=2), ["1", text])
        await journal.create(record("one", total=1), [text])
        await journal.create(record("ended", total=1, key="key"), (), Ended(outcome, [result]))
        await journal.complete("run", [Completion(0, result)])
        assert sys.getsizeof(text) == size
        assert await journal.get_blob("blob") == Blob(text, BlobType.DATA)
        assert await journal.inputs("run", 0) == ["1", text]
        assert await journal.inputs("one", 0) == [text]
        for run_id in ("run", "ended"):
            for order in ResultOrder:
                assert await journal.results(run_id, Page(order, 0, 2, 0, 1)) == [result]
