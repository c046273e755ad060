from contextlib import ExitStack

import pytest

from gateway.access.limit_rules import LimitRule
from gateway.access.limits import CallerLimits
from gateway.concurrency.counter_table import CounterTable
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.caller import ANYBODY, Caller, CallerView
from gateway.core.errors import Overloaded, QuotaExceeded

A, B = Caller("team-a", CallerView("a")), Caller("team-b", CallerView("b"))
SECOND = 10**9


class Clock:
    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


def limits_of(
    *rules: LimitRule, in_all: LimitRule | None = None, stored: dict[str, int] | None = None
) -> tuple[CallerLimits, Clock]:
    table, clock = CounterTable(), Clock()
    table.now = clock
    stored_bytes = None if stored is None else stored.__getitem__
    return CallerLimits(rules, in_all, table=table, stored=stored_bytes), clock


def refusal_of(limits: CallerLimits, caller: Caller, *, streams: bool = False) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as raised, limits.call(caller, streams):
        pass
    return raised.value


def test_without_rules_nothing_is_counted() -> None:
    limits = CallerLimits()
    assert not limits.limited
    assert limits.call(A) is limits.call(ANYBODY)
    with limits.call(A), limits.call(A, streams=True), limits.followed(A, 10**9) as followed:
        followed.take(5)
        limits.items(A, 10**12)
        limits.stored(A)
    share = MemoryAccount().share()
    assert limits.share(A, share) is share


def test_whether_a_call_may_begin_can_be_asked_for_without_counting_it() -> None:
    limits, clock = limits_of(LimitRule(("team-a",), requests_per_second=10, burst=1, max_streams=1))
    for _ in range(3):
        limits.check(A)
        limits.check(B)
    with limits.call(A, streams=True):
        clock.now += SECOND
        limits.check(A)
        with pytest.raises(QuotaExceeded, match="max_streams"):
            limits.check(A, streams=True)
    with limits.call(A), pytest.raises(QuotaExceeded, match="requests_per_second"):
        limits.check(A)
    limits.check(B)


def test_requests_beyond_the_burst_wait_for_the_bucket_to_fill() -> None:
    limits, clock = limits_of(LimitRule(("team-a",), requests_per_second=10, burst=3))
    for _ in range(3):
        with limits.call(A):
            pass
    refused = refusal_of(limits, A)
    assert (refused.quota, refused.subject) == ("requests_per_second", "identity:team-a")
    assert refused.retry_after is not None
    assert 0.1 <= refused.retry_after <= 0.126
    for _ in range(100):
        with limits.call(B):
            pass
    clock.now += SECOND // 10
    with limits.call(A):
        pass
    refusal_of(limits, A)
    clock.now += 100 * SECOND
    for _ in range(3):
        with limits.call(A):
            pass
    refusal_of(limits, A)


def test_waits_differ_so_that_clients_do_not_come_back_together() -> None:
    limits, _ = limits_of(LimitRule(max_calls=1))
    with limits.call(A):
        waits = {refusal_of(limits, A).retry_after for _ in range(20)}
    assert len(waits) > 10
    assert all(wait is not None and wait >= 1.0 for wait in waits)


def test_a_burst_is_a_second_of_requests_unless_set() -> None:
    limits, _ = limits_of(LimitRule(requests_per_second=0.5))
    with limits.call(A):
        pass
    retry_after = refusal_of(limits, A).retry_after
    assert retry_after is not None
    assert 2.0 <= retry_after <= 2.5


def test_calls_and_streams_in_flight_count_apart_until_they_end() -> None:
    limits, _ = limits_of(LimitRule(max_calls=2, max_streams=1))
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(limits.call(A))
        stack.enter_context(limits.call(A, streams=True))
        assert refusal_of(limits, A).quota == "max_calls"
        assert refusal_of(limits, A, streams=True).quota == "max_streams"
        with limits.call(B), limits.call(B, streams=True):
            pass
    with limits.call(A), limits.call(A), limits.call(A, streams=True):
        pass


def test_refused_calls_leave_nothing_behind() -> None:
    limits, _ = limits_of(LimitRule(max_calls=1), in_all=LimitRule(requests_per_second=1, burst=1))
    with limits.call(A):
        pass
    for _ in range(5):
        refused = refusal_of(limits, A)
        assert (refused.quota, refused.subject) == ("requests_per_second", "all")


def test_all_callers_together_have_limits_too() -> None:
    limits, _ = limits_of(in_all=LimitRule(max_calls=2, max_followed=5))
    with limits.call(A), limits.call(B):
        assert refusal_of(limits, ANYBODY).subject == "all"
    with limits.followed(A, 4), pytest.raises(QuotaExceeded):
        limits.followed(B, 2)


def test_anybody_is_one_identity() -> None:
    limits, _ = limits_of(LimitRule(max_calls=1))
    with limits.call(ANYBODY):
        assert refusal_of(limits, Caller(view=CallerView("other"))).subject == "identity:"
        with limits.call(A):
            pass


def test_followed_runs_are_counted_as_they_come_and_go() -> None:
    limits, _ = limits_of(LimitRule(max_followed=3))
    with limits.followed(A, 1) as first, limits.followed(A) as second:
        second.take(2)
        with pytest.raises(QuotaExceeded) as raised:
            first.take()
        assert raised.value.quota == "max_followed"
        second.give_back()
        first.take()
    with limits.followed(A, 3), pytest.raises(QuotaExceeded) as raised:
        limits.followed(A, 4)
    assert raised.value.retry_after is None, "that passes never"


def test_items_are_those_of_a_minute() -> None:
    limits, clock = limits_of(LimitRule(items_per_minute=600))
    limits.items(A, 600)
    with pytest.raises(QuotaExceeded) as raised:
        limits.items(A, 60)
    assert raised.value.retry_after is not None
    assert 6.0 <= raised.value.retry_after <= 7.5
    clock.now += 6 * SECOND
    limits.items(A, 60)
    limits.items(B, 600)


@pytest.mark.parametrize("before", [0, 500])
def test_a_run_of_more_items_than_a_minute_allows_is_refused_for_good(before: int) -> None:
    limits, _ = limits_of(LimitRule(items_per_minute=600))
    with pytest.raises(QuotaExceeded) as raised:
        limits.items(A, 601 - before, before)
    assert raised.value.retry_after is None
    limits.items(A, 600)


def test_a_full_namespace_takes_no_more() -> None:
    limits, _ = limits_of(LimitRule(max_stored_bytes=100), stored={"a": 100, "b": 99, "default": 0})
    with pytest.raises(QuotaExceeded) as raised:
        limits.stored(A)
    assert (raised.value.quota, raised.value.retry_after is not None) == ("max_stored_bytes", True)
    limits.stored(B)
    limits.stored(Caller("team-a"))


def test_a_caller_holds_no_more_than_its_part_of_the_memory() -> None:
    limits, _ = limits_of(LimitRule(("team-a",), max_memory=1_000))
    account = MemoryAccount()
    first, second = limits.share(A, account.share()), limits.share(A, account.share())
    with first.hold(600) as held:
        assert not second.fits(500)
        with pytest.raises(QuotaExceeded):
            second.take(500)
        held.grow(100)
        second.take(300)
        assert account.held == 1_000
        second.give_back(300)
    assert account.held == first.held == second.held == 0
    with first.hold(1_000):
        pass


def test_memory_that_the_account_refuses_is_not_counted_for_the_caller() -> None:
    limits, _ = limits_of(LimitRule(max_memory=1 << 30))
    share = limits.share(A, MemoryAccount(1 << 20).share())
    for _ in range(3):
        with pytest.raises(Overloaded):
            share.take(1 << 29)
    assert share.fits(1 << 10)


def test_identities_beyond_those_that_are_remembered_are_counted_all_the_same() -> None:
    table = CounterTable(rows=64)
    limits = CallerLimits([LimitRule(max_calls=1)], table=table)
    with limits.call(A):
        for number in range(20_000):
            with limits.call(Caller(f"passing-{number}")):
                pass
        assert refusal_of(limits, A).quota == "max_calls"
    with limits.call(A):
        pass
