from base64 import b64encode
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.fronts.web import base64_text
from gateway.fronts.web.base64_text import AT_ONCE, decoded


class Counted:
    """Checkpoints that are counted."""

    def __init__(self) -> None:
        self.number = 0

    async def checkpoint(self) -> None:
        self.number += 1


async def chunks(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


async def text_of(*parts: bytes) -> bytes:
    return b"".join([part async for part in decoded(chunks(*parts), Counted())])


@given(st.lists(st.binary(max_size=20), max_size=4), st.integers(1, 9))
async def test_pieces_may_each_be_padded(pieces: list[bytes], size: int) -> None:
    text = b"".join(map(b64encode, pieces))
    assert await text_of(*(text[start : start + size] for start in range(0, len(text), size))) == b"".join(pieces)


async def test_many_padded_pieces_are_decoded_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, pace, number = [], Counted(), 100_001

    def noted(text: bytes) -> bytes:
        sizes.append(len(text))
        return decode(text)

    decode = base64_text._decoded
    monkeypatch.setattr(base64_text, "_decoded", noted)
    # The first part ends within a group.
    parts = chunks(b"AA==" * number + b"A", b"A==")
    assert b"".join([part async for part in decoded(parts, pace)]) == bytes(number + 1)
    assert max(sizes) <= AT_ONCE
    assert pace.number == len(sizes)


@pytest.mark.parametrize("text", [b"A", b"AAA", b"A===", b"AA=A", b"****", b"====", b"AAAA\n"])
async def test_what_is_no_base64_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await text_of(text)
