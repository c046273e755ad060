"""Values that live as long as their objects."""

import gc
from dataclasses import dataclass

from gateway.concurrency.weak_memo import WeakMemo


@dataclass(slots=True, frozen=True, weakref_slot=True)
class Owner:
    names: list[str]


def test_an_object_keeps_its_value() -> None:
    memo: WeakMemo[Owner, str] = WeakMemo()
    owner = Owner(["not hashable"])
    assert memo.get(owner) is None
    assert memo.set(owner, "value") == "value"
    assert memo.get(owner) == "value"
    assert memo.set(owner, "other") == memo.get(owner) == "other"
    assert len(memo) == 1


def test_equal_objects_are_told_apart() -> None:
    memo: WeakMemo[Owner, int] = WeakMemo()
    owners = [Owner([]) for _ in range(3)]
    for number, owner in enumerate(owners):
        memo.set(owner, number)
    assert [memo.get(owner) for owner in owners] == [0, 1, 2]


def test_values_go_with_their_objects() -> None:
    memo: WeakMemo[Owner, int] = WeakMemo()
    kept = Owner([])
    memo.set(kept, 0)
    for number in range(1_000):
        memo.set(Owner([]), number)
    gc.collect()
    assert (len(memo), memo.get(kept)) == (1, 0)


def test_an_object_whose_value_was_replaced_goes_as_well() -> None:
    memo: WeakMemo[Owner, int] = WeakMemo()
    owner = Owner([])
    memo.set(owner, 1)
    memo.set(owner, 2)
    del owner
    gc.collect()
    assert len(memo) == 0


def test_a_memo_may_go_before_the_objects() -> None:
    memo: WeakMemo[Owner, int] = WeakMemo()
    owner = Owner([])
    memo.set(owner, 1)
    del memo
    gc.collect()
    assert owner.names == []
