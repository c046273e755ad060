"""Points of sets come back, grow, and are short."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.runtimes.temporal.set_point import BUCKETS, SetPoint, run_key, step_key

NUMBERS = st.integers(0, (1 << 63) - 1)
SUMS = st.tuples(*[st.integers(0, (1 << 32) - 1)] * BUCKETS)
POINTS = st.builds(SetPoint, st.booleans(), NUMBERS, st.integers(0, (1 << 128) - 1), NUMBERS, SUMS)
DIGEST, OTHER = b"a" * 8, b"b" * 8


@given(POINTS, POINTS)
def test_positions_come_back_and_grow_as_bytes(point: SetPoint, other: SetPoint) -> None:
    position = point.to_bytes(DIGEST)
    assert len(position) < 64
    assert SetPoint.from_bytes(position, DIGEST) == point
    assert SetPoint.from_bytes(position, OTHER) is None
    place, place_of_other = ((not each.listing, each.number, each.key) for each in (point, other))
    if place != place_of_other:
        assert (position < other.to_bytes(DIGEST)) == (place < place_of_other)


@given(st.binary(max_size=80))
def test_what_is_no_position_is_none(position: bytes) -> None:
    assert SetPoint.from_bytes(position, DIGEST) is None


@given(POINTS, st.integers(0, 62))
def test_a_position_that_is_damaged_is_none(point: SetPoint, place: int) -> None:
    position = bytearray(point.to_bytes(DIGEST))
    position[place] ^= 1
    assert SetPoint.from_bytes(bytes(position), DIGEST) is None


def test_keys_tell_who_has_told_what_is_before() -> None:
    point = SetPoint(False, 1, step_key(3, 7), 0, (0,) * BUCKETS)
    assert point.origin == 7
    assert point._replace(listing=True).origin == 0
    assert step_key(4) > step_key(3, 7)
    assert run_key("00000000-0000-4000-8000-000000000001") == (4 << 76) + (8 << 60) + 1
