"""Which items a run hands out, and what of its results is put together."""

from msgspec.structs import replace

from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.messages import ChunkDone, ChunkSplit, Inputs, KeptResult, ResultsPart, StartRun
from gateway.runtimes.temporal.run_progress import CHUNK_ITEMS, INDEX_PARTS, KEEP_RESULTS, RunProgress


def progress_of(total: int, pace: float = 0.0, concurrency: int | None = None) -> RunProgress:
    record = RunRecord("r", "f", None, None, total, concurrency, None, "{}", None, "", None, "", 1)
    return RunProgress(StartRun(record, Inputs(("1",) * total), pace=pace), 1)


def part(low: int, high: int) -> ResultsPart:
    return ResultsPart(low, high, high - low, 0, 10, tuple(KeptResult(index, "1", 2) for index in range(low, high)))


def all_handed_out(progress: RunProgress) -> list[tuple[int, int]]:
    handed = []
    while (items := progress.hand_out()) is not None:
        handed.append(items)
    return handed


def test_items_of_an_unknown_pace_are_handed_out_one_by_one() -> None:
    assert all_handed_out(progress_of(3)) == [(0, 1), (1, 2), (2, 3)]


def test_quick_items_are_handed_out_together() -> None:
    assert all_handed_out(progress_of(20, pace=1_000)) == [(0, 20)]
    assert all_handed_out(progress_of(20, pace=50)) == [(0, 5), (5, 10), (10, 15), (15, 20)]
    assert all_handed_out(progress_of(CHUNK_ITEMS + 1, pace=1e6)) == [(0, CHUNK_ITEMS), (CHUNK_ITEMS, CHUNK_ITEMS + 1)]


def test_what_a_chunk_has_left_is_handed_out_again() -> None:
    progress = progress_of(4, pace=1_000, concurrency=1)
    assert all_handed_out(progress) == [(0, 4)]
    progress.ended(0, ChunkDone(1, part(0, 1), 2.0))
    assert progress.pace == 0.5
    assert all_handed_out(progress) == [(1, 2)]
    assert progress.counts().success == 1


def test_many_results_are_put_together_once() -> None:
    total = KEEP_RESULTS + 1
    progress = progress_of(total, pace=1e6)
    chunks = all_handed_out(progress)
    for start, stop in chunks[:-1]:
        assert progress.to_keep() is None
        progress.ended(start, ChunkDone(stop, part(start, stop), 0.1))
    found = progress.to_keep()
    assert found is not None
    place, parts = found
    assert (place, len(parts)) == (0, len(chunks) - 1)
    progress.kept(parts, ResultsPart(0, KEEP_RESULTS, KEEP_RESULTS, 0, 40, key="object"))
    assert progress.to_keep() is None
    start, stop = chunks[-1]
    progress.ended(start, ChunkDone(stop, part(start, stop), 0.1))
    assert progress.waiting()[0] == KEEP_RESULTS
    assert progress.finished


def test_a_run_that_begins_anew_knows_what_waits_to_be_put_together() -> None:
    progress = progress_of(KEEP_RESULTS, pace=1e6)
    for start, stop in all_handed_out(progress):
        progress.ended(start, ChunkDone(stop, part(start, stop), 0.1))
    start_run = StartRun(
        RunRecord("r", "f", None, None, KEEP_RESULTS, None, None, "{}", None, "", None, "", 1), Inputs(()), pace=7.0
    )
    anew = RunProgress(replace(start_run, carried=progress.carried()), 2)
    assert anew.pace == 7.0
    assert anew.to_keep() == progress.to_keep()
    assert anew.finished


def test_many_parts_in_objects_are_named_by_one() -> None:
    progress = progress_of(INDEX_PARTS + 2, concurrency=1)
    for number in range(INDEX_PARTS + 1):
        assert progress.to_index() is None
        [(start, _)] = all_handed_out(progress)
        # Each ends after one item. The first one is in the history yet.
        done = ResultsPart(start, start + 1, 1, 0, 10, key=f"object-{start}") if number else part(start, start + 1)
        progress.ended(start, ChunkDone(start + 1, done, 5.0))
    found = progress.to_index()
    assert found is not None
    place, parts = found
    assert (place, len(parts)) == (1, INDEX_PARTS)
    index = ResultsPart(1, INDEX_PARTS + 1, INDEX_PARTS, 0, 40, key="index", has_parts=True)
    progress.kept(parts, index)
    assert progress.to_index() is None
    assert progress.parts[1] is index
    assert progress.answer(3).place == 1
    assert progress.waiting() == (0, progress.parts[:1])


def split_in_two() -> RunProgress:
    """A run of six items, of which the first chunk has told that its item 2 takes long."""
    progress = progress_of(6, pace=1_000)
    assert all_handed_out(progress) == [(0, 6)]
    assert progress.split(ChunkSplit(0, 2, part(0, 2), 1.0))
    return progress


def test_an_item_that_takes_long_holds_up_no_other() -> None:
    progress = split_in_two()
    assert (progress.counts().success, progress.range_of(0)) == (2, (2, 3))
    assert all_handed_out(progress) == [(3, 4), (4, 5), (5, 6)]
    assert progress.answer(0).split == ((0, 2),)
    progress.ended(0, ChunkDone(3, part(2, 3), 5.0))
    for index in (5, 3, 4):
        progress.ended(index, ChunkDone(index + 1, part(index, index + 1), 0.1))
    assert progress.finished
    assert [(each.low, each.high) for each in progress.parts] == [(0, 2), (2, 3), (5, 6), (3, 4), (4, 5)]


def test_a_chunk_whose_first_item_takes_long_gives_back_the_rest() -> None:
    progress = progress_of(3, pace=1_000)
    assert all_handed_out(progress) == [(0, 3)]
    assert progress.split(ChunkSplit(0, 0, None, 1.0))
    assert all_handed_out(progress) == [(1, 2), (2, 3)]
    assert progress.left() == [(0, 1), (1, 2), (2, 3)]


def test_what_is_told_twice_or_too_late_counts_once() -> None:
    progress = split_in_two()
    revision = progress.revision
    for told in (ChunkSplit(0, 2, part(0, 2), 1.0), ChunkSplit(0, 3, part(0, 3), 1.0), ChunkSplit(4, 5, part(4, 5))):
        assert not progress.split(told)
    assert (progress.revision, progress.counts().success) == (revision, 2)


def test_who_does_not_know_of_a_split_executes_for_nothing() -> None:
    progress = split_in_two()
    progress.ended(0, ChunkDone(6, part(0, 6), 1.0))
    assert progress.counts().success == 2
    assert progress.left() == [(2, 3), (3, 6)]


def test_a_split_chunk_that_is_given_up_has_one_item_left() -> None:
    progress = split_in_two()
    progress.ended(0, ChunkDone(0, nested=True))
    assert (progress.left(), progress.nested) == ([(2, 3), (3, 6)], True)
