"""Every result exactly once, however often a stream is cut, ends early or goes on."""

from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.model import ItemResult, ItemStatistics, ResultOrder, RunState, RunStatus
from gateway.core.position import Position, ResumePoint
from gateway.core.runtime import Page, Snapshot

RUN = "00000000-0000-4000-8000-000000000001"
OTHER_RUN = "00000000-0000-4000-8000-000000000002"
BY_INDEX, BY_COMPLETION = ResultOrder

orders = st.sampled_from(ResultOrder)
numbers = st.integers(0, 2**64 - 1)
positions = st.builds(Position, orders, numbers, numbers, numbers)
revisions = numbers


@dataclass
class Run:
    """A run of which the first items of `completed` have finished, in that order."""

    completed: list[int]
    completions: int = 0

    def snapshot(self) -> Snapshot:
        total, finished = len(self.completed), set(self.completed[: self.completions])
        status = RunStatus(
            run_id=RUN,
            flow_id="sha256:" + "0" * 64,
            status=RunState.SUCCESS if len(finished) == total else RunState.RUNNING,
            items=ItemStatistics(total=total, success=len(finished), running=total - len(finished)),
            created_at=0,
        )
        prefix = next((index for index in range(total) if index not in finished), total)
        return Snapshot(status, self.completions, self.completions, prefix)

    def read(self, page: Page, length: int) -> list[ItemResult]:
        found = [index for index in self.completed[page.first : page.completions] if page.start <= index < page.stop]
        if page.order is BY_INDEX:
            found.sort()
        return [ItemResult(item_index=index, status=RunState.SUCCESS) for index in found[:length]]


class Step(NamedTuple):
    """Some items finish, and the follower reads: to the end of what the state has, or until it is cut off."""

    finish: int
    """How many items finish before it."""
    page_length: int
    last: bool
    """Whether the stream ends here, with all that there is."""
    cut: int | None
    """After how many results the connection breaks."""


steps = st.lists(
    st.builds(Step, st.integers(0, 4), st.integers(1, 4), st.booleans(), st.none() | st.integers(0, 6)), max_size=8
)
runs = st.integers(0, 12).flatmap(lambda total: st.permutations(range(total))).map(Run)


def follow(run: Run, position: Position, step: Step) -> tuple[list[int], Position]:
    """What is received in one state, and the position that the last message named."""
    received: list[int] = []
    snapshot = run.snapshot()
    last = step.last or snapshot.terminal
    while (page := position.missing(snapshot, last=last)) is not None:
        results = run.read(page, step.page_length)
        if step.cut is not None and len(received) + len(results) > step.cut:
            # A message may hold a part of the page, and names the position after it.
            results = results[: step.cut - len(received)]
            return received + indexes(results), position.after(page, results, snapshot) if results else position
        received += indexes(results)
        position = position.after(page, results, snapshot)
    return received, position


def indexes(results: list[ItemResult]) -> list[int]:
    return [result.item_index for result in results]


def resumed(position: Position, run: Run) -> Position:
    """The position after a cut: all that is left of it is the token."""
    token = ResumePoint(position).token(RUN)
    again = ResumePoint.from_token(token, RUN, position.order)
    assert again == (position, 0)
    assert again.position.fits(run.snapshot())
    return again.position


@given(runs, orders, steps)
@example(Run([2, 0, 1, 3]), BY_INDEX, [Step(1, 1, True, 0), Step(1, 1, False, None)])
@example(Run([3, 2, 0, 1]), BY_INDEX, [Step(2, 1, True, 1), Step(1, 1, False, None)])
def test_each_result_is_received_once_however_streams_are_cut(run: Run, order: ResultOrder, steps: list[Step]) -> None:
    position = Position(order)
    received: list[int] = []
    for step in [*steps, Step(len(run.completed), 3, last=False, cut=None)]:
        run.completions = min(run.completions + step.finish, len(run.completed))
        results, position = follow(run, resumed(position, run), step)
        received += results
        assert set(received) <= set(run.completed[: run.completions])
    assert sorted(received) == list(range(len(run.completed)))
    if order is BY_COMPLETION:
        assert received == run.completed
    assert follow(run, resumed(position, run), Step(0, 1, last=True, cut=None))[0] == []


@given(runs, orders, steps)
def test_a_stream_that_ends_early_has_sent_all_that_there_is(run: Run, order: ResultOrder, steps: list[Step]) -> None:
    position = Position(order)
    received: list[int] = []
    for step in steps:
        run.completions = min(run.completions + step.finish, len(run.completed))
        results, position = follow(run, resumed(position, run), step)
        received += results
        if step.last and step.cut is None:
            assert sorted(received) == sorted(run.completed[: run.completions])


@given(runs, steps)
def test_a_stream_that_ends_with_the_run_is_in_order_of_the_index(run: Run, steps: list[Step]) -> None:
    position = Position(BY_INDEX)
    received: list[int] = []
    for step in [*steps, Step(len(run.completed), 3, last=False, cut=None)]:
        run.completions = min(run.completions + step.finish, len(run.completed))
        results, position = follow(run, resumed(position, run), step._replace(last=False))
        received += results
        assert received == list(range(len(received)))
    assert len(received) == len(run.completed)


@given(positions, revisions)
def test_tokens_are_small_and_name_the_position_and_the_state(position: Position, revision: int) -> None:
    token = ResumePoint(position, revision).token(RUN)
    assert len(token) < 64
    assert ResumePoint.from_token(token, RUN, position.order) == ResumePoint(position, revision)


@given(positions)
def test_tokens_are_of_one_run_and_one_order(position: Position) -> None:
    token = ResumePoint(position).token(RUN)
    other = BY_INDEX if position.order is BY_COMPLETION else BY_COMPLETION
    assert ResumePoint.from_token(token, OTHER_RUN, position.order) is None
    assert ResumePoint.from_token(token, RUN, other) is None


@given(positions, st.data())
def test_damaged_tokens_are_not_understood(position: Position, data: st.DataObject) -> None:
    token = ResumePoint(position).token(RUN)
    bit = data.draw(st.integers(0, 8 * len(token) - 1))
    flipped = (int.from_bytes(token) ^ 1 << bit).to_bytes(len(token))
    shorter = token[: data.draw(st.integers(0, len(token) - 1))]
    longer = token + data.draw(st.binary(min_size=1))
    for damaged in (flipped, shorter, longer):
        assert ResumePoint.from_token(damaged, RUN, position.order) is None


@given(st.binary(), orders)
def test_anything_else_is_not_understood(token: bytes, order: ResultOrder) -> None:
    assert ResumePoint.from_token(token, RUN, order) is None


@given(runs, positions)
def test_positions_that_fit_are_followed_to_an_end(run: Run, position: Position) -> None:
    """A false position may cost its bearer results, but no more than a page each for what there is."""
    small = Position(position.order, *(number % 16 for number in position[1:]))
    for finished in range(len(run.completed) + 1):
        run.completions = finished
        if small.fits(run.snapshot()):
            received, _ = follow(run, small, Step(0, 1, last=True, cut=None))
            assert len(received) == len(set(received))


@pytest.mark.parametrize(
    "position",
    [
        Position(BY_COMPLETION, completion_offset=3),
        Position(BY_COMPLETION, completion_offset=1, indexes=1),
        Position(BY_COMPLETION, completion_offset=1, sweep=2),
        Position(BY_INDEX, completion_offset=3),
        Position(BY_INDEX, indexes=2),
        Position(BY_INDEX, indexes=4, sweep=2),
        Position(BY_INDEX, completion_offset=2, sweep=2),
        Position(BY_INDEX, sweep=3),
    ],
)
def test_positions_that_the_run_has_not_reached_do_not_fit(position: Position) -> None:
    assert not position.fits(Run([0, 3, 1, 2], completions=2).snapshot())


@pytest.mark.parametrize("order", ResultOrder)
def test_only_the_beginning_has_not_started(order: ResultOrder) -> None:
    assert not Position(order).started
    assert Position(order, completion_offset=1).started
    assert Position(order, indexes=1).started
    assert Position(order, sweep=1).started
