"""Members in buckets: their digest depends on the last value of each name alone, however full buckets become."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import member_buckets
from gateway.core.json_layout import at_once
from gateway.core.member_buckets import MemberBuckets

NAMES = [f"n{number}" for number in range(12)] + ["n" * 100]
FORMS = [b"1", b"2", b'"' + b"x" * 20 + b'"']
members = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(FORMS)), max_size=40)


def digest_of(pairs: list[tuple[str, bytes]], group: int = 1) -> bytes:
    buckets = MemberBuckets()
    for start in range(0, len(pairs), group):
        buckets.keep({name: msgspec.Raw(form) for name, form in pairs[start : start + group]})
    return at_once(buckets.digest()).digest()


@pytest.fixture(params=["spread", "all in one"])
def _short_buckets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_buckets, "_LONG_BUCKET", 60)
    monkeypatch.setattr(member_buckets, "_MAX_BUCKET", 40)
    monkeypatch.setattr(member_buckets, "_FIRST_BUCKETS", 16)
    monkeypatch.setattr(member_buckets, "_FIRST", 15)
    if request.param == "all in one":
        monkeypatch.setattr(member_buckets, "crc32", lambda _: 7)


@pytest.mark.usefixtures("_short_buckets")
@given(pairs=members, other=members, random=st.randoms(use_true_random=False))
def test_the_digests_are_the_same_exactly_if_the_members_are(
    pairs: list[tuple[str, bytes]], other: list[tuple[str, bytes]], random: Random
) -> None:
    final = list(dict(pairs).items())
    random.shuffle(final)
    assert digest_of(pairs) == digest_of(pairs, 5) == digest_of(final)
    assert (digest_of(pairs) == digest_of(other)) == (dict(pairs) == dict(other))


def test_what_is_repeated_takes_no_room() -> None:
    buckets = MemberBuckets()
    for number in range(20_000):
        buckets.keep({"same": str(number).encode()})
    assert sum(len(bucket) for bucket in buckets._buckets if isinstance(bucket, bytearray)) <= 8 << 10
    assert at_once(buckets.digest()).digest() == digest_of([("same", b"19999")])
