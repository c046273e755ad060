from hypothesis import given
from hypothesis import strategies as st

from gateway.runtimes.embedded.set_position import CURSOR_BYTES, SetPosition, Stage

NUMBERS = st.integers(0, (1 << 60) - 1)
POINTS = st.builds(
    SetPosition, st.sampled_from(Stage), NUMBERS, st.binary(min_size=CURSOR_BYTES, max_size=CURSOR_BYTES)
)
DIGEST, OTHER = b"a" * 8, b"b" * 8


@given(POINTS, POINTS, NUMBERS)
def test_positions_come_back_and_grow_as_bytes(point: SetPosition, other: SetPosition, era: int) -> None:
    position = point.to_bytes(era, DIGEST)
    assert len(position) < 64
    assert SetPosition.from_bytes(position, DIGEST) == (point, era)
    assert SetPosition.from_bytes(position, OTHER) is None
    if point != other:
        assert (position < other.to_bytes(era, DIGEST)) == (point < other)


@given(st.binary(max_size=64))
def test_anything_else_is_no_position(data: bytes) -> None:
    assert SetPosition.from_bytes(data, DIGEST) is None
