"""Which run a submit has made whose answer was lost."""

import pytest

from gateway.core.errors import RemoteError
from gateway.runtimes.stepflow import in_doubt as module
from gateway.runtimes.stepflow.in_doubt import CLOCK_SKEW, LostSubmit, LostSubmits, Name
from gateway.runtimes.stepflow.stepflow_json import StoredRun

FLOW = f"sha256:{'a' * 64}"
T = 10**18
LOST = LostSubmit("print", FLOW, 2, T, T + 100)
NAME = Name("", "key")


def run(run_id: str, *, flow_id: str = FLOW, items: int = 2, at: int = T + 50, parent: str | None = None) -> StoredRun:
    return StoredRun(run_id, flow_id, items, at, parent)


@pytest.fixture
def submits() -> LostSubmits:
    submits = LostSubmits()
    submits.add(NAME, LOST)
    return submits


def test_the_only_run_that_fits(submits: LostSubmits) -> None:
    others = [
        run("1", flow_id=f"sha256:{'b' * 64}"),
        run("2", items=3),
        run("3", parent="x"),
        run("4", at=T - CLOCK_SKEW - 1),
        run("5", at=T + 100 + CLOCK_SKEW + 1),
    ]
    assert submits.found(LOST, others) is None
    assert submits.found(LOST, [*others, run("6")]) == "6"


def test_runs_that_were_the_answer_to_others_do_not_count(submits: LostSubmits) -> None:
    submits.settle(None, "1")
    submits.settle(Name("task", "key"), "2")
    assert submits.found(LOST, [run("1"), run("2")]) is None
    assert submits.found(LOST, [run("1"), run("2"), run("3")]) == "3"


def test_more_runs_than_submits_cannot_be_told_apart(submits: LostSubmits) -> None:
    with pytest.raises(RemoteError, match="1, 2; look at them"):
        submits.found(LOST, [run("1"), run("2")])


def test_equal_submits_share_what_is_found(submits: LostSubmits) -> None:
    submits.add(Name("", "other"), LOST)
    runs = [run("1"), run("2")]
    first = submits.found(LOST, runs)
    assert first == "1"
    submits.settle(NAME, first)
    assert submits.found(LOST, runs) == "2"


def test_different_submits_of_the_same_flow_cannot_be_told_apart(submits: LostSubmits) -> None:
    submits.add(Name("", "other"), LOST._replace(fingerprint="another"))
    assert submits.found(LOST, []) is None
    with pytest.raises(RemoteError):
        submits.found(LOST, [run("1")])


def test_a_settled_submit_is_forgotten(submits: LostSubmits) -> None:
    assert submits.get(NAME, "print") == LOST
    assert submits.get(NAME, "another") is None
    submits.settle(NAME, "1")
    assert submits.get(NAME, "print") is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, submits: LostSubmits) -> None:
    monkeypatch.setattr(module, "MAX_LOST", 2)
    monkeypatch.setattr(module, "MAX_GIVEN", 2)
    for number in range(3):
        submits.add(Name("", str(number)), LOST)
        submits.settle(None, str(number))
    assert [submits.get(Name("", str(number)), "print") for number in range(3)] == [None, LOST, LOST]
    assert submits.found(LOST, [run("0")]) == "0"
