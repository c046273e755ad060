"""The account of memory: shares that leave room for others, and small requests that always pass."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.concurrency.memory_account import SMALL_BYTES, MemoryAccount
from gateway.core.errors import Overloaded

MIB = 1 << 20


def test_one_share_gets_half_and_the_next_ones_half_of_the_rest() -> None:
    account = MemoryAccount(512 * MIB)
    first, second = account.share(), account.share()
    first.take(224 * MIB)
    with pytest.raises(Overloaded) as refusal:
        first.take(1)
    assert refusal.value.retry_after
    second.take(112 * MIB)
    with pytest.raises(Overloaded):
        second.take(1)
    assert account.held == 336 * MIB


def test_small_requests_pass_when_large_ones_have_taken_all_that_they_can() -> None:
    account = MemoryAccount(512 * MIB)
    for _ in range(100):
        share = account.share()
        size = 256 * MIB
        while size:
            if account.fits(share.held, size):
                share.take(size)
            else:
                size //= 2
    for _ in range(400):
        account.share().take(SMALL_BYTES)
    assert account.held < account.limit


def test_a_share_that_holds_much_gets_no_small_request_more() -> None:
    account = MemoryAccount(512 * MIB)
    share = account.share()
    share.take(224 * MIB)
    with pytest.raises(Overloaded):
        share.take(1)


def test_what_a_hold_grows_by_is_given_back_at_its_end() -> None:
    account = MemoryAccount(512 * MIB)
    share = account.share()
    with share.hold(3) as hold:
        hold.grow(MIB)
        hold.shrink(2)
        assert account.held == share.held == hold.size == MIB + 1
        with pytest.raises(Overloaded):
            hold.grow(512 * MIB)
        assert account.held == MIB + 1
    assert account.held == share.held == 0


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 1 << 30))))
def test_the_limit_is_never_exceeded(takes: list[tuple[int, int]]) -> None:
    account = MemoryAccount(512 * MIB)
    shares = [account.share() for _ in range(8)]
    for number, size in takes:
        try:
            shares[number].take(size)
        except Overloaded:
            continue
    assert account.held == sum(share.held for share in shares) <= account.limit


def test_a_share_may_have_no_part_in_what_is_kept_for_small_requests() -> None:
    account = MemoryAccount(64 << 20)
    shares = [account.share(small=0) for _ in range(10_000)]
    for share in shares:
        with suppress(Overloaded):
            share.take(16 << 10)
    assert account.held <= 56 << 20
    account.share().take(16 << 10)
