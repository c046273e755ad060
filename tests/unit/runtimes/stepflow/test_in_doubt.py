"""A submit whose answer was lost: the run that it has made is found again."""

import pytest

from gateway.core.errors import RemoteError
from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.runtimes.stepflow import in_doubt as module
from gateway.runtimes.stepflow.in_doubt import CLOCK_SKEW, InDoubtSubmit, InDoubtSubmits, ScopedKey

FLOW = f"sha256:{'a' * 64}"
T = 10**18
IN_DOUBT = InDoubtSubmit("print", FLOW, 2, T, T + 100)
KEY = ScopedKey("", "key")


def run(run_id: str, *, flow_id: str = FLOW, items: int = 2, at: int = T + 50, parent: str | None = None) -> RunStatus:
    return RunStatus(
        run_id=run_id,
        flow_id=flow_id,
        status=RunState.RUNNING,
        items=ItemStatistics(total=items),
        created_at=at,
        parent_run_id=parent,
    )


@pytest.fixture
def submits() -> InDoubtSubmits:
    submits = InDoubtSubmits()
    submits.add(KEY, IN_DOUBT)
    return submits


def test_the_only_run_that_fits(submits: InDoubtSubmits) -> None:
    others = [
        run("1", flow_id=f"sha256:{'b' * 64}"),
        run("2", items=3),
        run("3", parent="x"),
        run("4", at=T - CLOCK_SKEW - 1),
        run("5", at=T + 100 + CLOCK_SKEW + 1),
    ]
    assert submits.find_run(IN_DOUBT, others) is None
    assert submits.find_run(IN_DOUBT, [*others, run("6")]) == "6"


def test_runs_that_were_the_answer_to_others_do_not_count(submits: InDoubtSubmits) -> None:
    submits.settle(None, "1")
    submits.settle(ScopedKey("task", "key"), "2")
    assert submits.find_run(IN_DOUBT, [run("1"), run("2")]) is None
    assert submits.find_run(IN_DOUBT, [run("1"), run("2"), run("3")]) == "3"


def test_more_runs_than_submits_cannot_be_told_apart(submits: InDoubtSubmits) -> None:
    with pytest.raises(RemoteError, match="1, 2; look at them"):
        submits.find_run(IN_DOUBT, [run("1"), run("2")])


def test_equal_submits_share_what_is_found(submits: InDoubtSubmits) -> None:
    submits.add(ScopedKey("", "other"), IN_DOUBT)
    runs = [run("1"), run("2")]
    first = submits.find_run(IN_DOUBT, runs)
    assert first == "1"
    submits.settle(KEY, first)
    assert submits.find_run(IN_DOUBT, runs) == "2"


def test_different_submits_of_the_same_flow_cannot_be_told_apart(submits: InDoubtSubmits) -> None:
    submits.add(ScopedKey("", "other"), IN_DOUBT._replace(fingerprint="another"))
    assert submits.find_run(IN_DOUBT, []) is None
    with pytest.raises(RemoteError):
        submits.find_run(IN_DOUBT, [run("1")])


def test_a_settled_submit_is_forgotten(submits: InDoubtSubmits) -> None:
    assert submits.get(KEY, "print") == IN_DOUBT
    assert submits.get(KEY, "another") is None
    submits.settle(KEY, "1")
    assert submits.get(KEY, "print") is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_IN_DOUBT", 2)
    monkeypatch.setattr(module, "MAX_ANSWERED", 2)
    submits = InDoubtSubmits()
    for number in range(3):
        submits.add(ScopedKey("", str(number)), IN_DOUBT)
        submits.settle(None, str(number))
    assert [submits.get(ScopedKey("", str(number)), "print") for number in range(3)] == [None, IN_DOUBT, IN_DOUBT]
    assert submits.find_run(IN_DOUBT, [run("0")]) == "0"
