"""Pieces become what they were, in their order, however long each is."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.byte_pieces import BytePieces

LENGTHS = st.sampled_from([0, 1, 100, 4_000, 5_000, 20_000])
PIECE = st.builds(lambda letter, length: letter * length, st.sampled_from([b"a", b"b", b"c"]), LENGTHS)


async def turn() -> None:
    pass


@given(st.lists(st.tuples(st.sampled_from(["add", "put_before", "take"]), st.lists(PIECE, max_size=4)), max_size=8))
async def test_pieces_keep_their_order(steps: list[tuple[str, list[bytes]]]) -> None:
    pieces, expected = BytePieces(), b""
    for step, given_ in steps:
        if step == "take":
            pieces.take(BytePieces(*given_))
            expected += b"".join(given_)
        for piece in given_ if step != "take" else ():
            getattr(pieces, step)(piece)
            expected = piece + expected if step == "put_before" else expected + piece
    assert pieces.size == len(expected)
    assert await pieces.joined(turn) == expected


async def test_many_short_pieces_are_written_together() -> None:
    pieces = BytePieces(*[b"12345678"] * 100_000)
    turns = []

    async def counted() -> None:
        turns.append(1)

    assert await pieces.joined(counted) == b"12345678" * 100_000
    assert 10 < len(turns) < 100
